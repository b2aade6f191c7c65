// The data files of the page: fetched, brought into shape, and kept up to date.
import { dataPath, digestPath, getData } from './api.js';
import { PageError } from './errors.js';
import { dict, isDigest, isName, list, number, own, text } from './shape.js';

const EVERY = 5000;
const SLOWEST = 30_000;

export const state = {
  index: null,
  // The rows of the index by name, and in its order.
  byName: new Map(),
  rows: [],
  user: '',
  registry: location.host,
  // When an answer came last, and what went wrong since.
  heard: 0,
  failure: null,
};

const listeners = new Set();
let base = { name: '', rows: new Map() };
let etag = '';
let timer = 0;
let delay = EVERY;
let asking = null;
let stopped = false;
let deletable = [];

// Calls the function after each change of the data or of the connection, and returns what ends that.
export function watch(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const tell = () => {
  for (const listener of [...listeners]) listener();
};

function toRow(columns, values) {
  const value = (column) => values[columns.indexOf(column)];
  return {
    name: text(value('name')),
    tags: number(value('tags')) ?? 0,
    untagged: number(value('untagged')) ?? 0,
    own: number(value('own_bytes')) ?? 0,
    shared: number(value('shared_bytes')) ?? 0,
    pushed: number(value('pushed')),
    by: text(value('pushed_by')),
    pulled: number(value('pulled')),
    worst: text(value('worst')),
  };
}

const FIELDS = ['tags', 'untagged', 'own', 'shared', 'pushed', 'by', 'pulled', 'worst'];
const equal = (one, other) => FIELDS.every((field) => one[field] === other[field]);

async function loadBase(file) {
  if (base.name === file) return;
  if (!/^index-[0-9A-Za-z._-]+\.json$/.test(file)) throw new PageError(502, 'The data of the page can’t be read', 'Tell the operator.');
  const { document } = await getData(`/page/data/${file}`);
  const columns = list(document.columns);
  base = { name: file, columns, rows: new Map(list(document.rows).map((values) => [text(list(values)[0]), toRow(columns, list(values))])) };
}

// A row that says the same as before stays the same object, so that views see at once what has changed.
function merge(changes) {
  const rows = new Map(base.rows);
  let added = false;
  for (const change of changes) {
    if (Array.isArray(change)) {
      const row = toRow(base.columns, change);
      added ||= !rows.has(row.name);
      rows.set(row.name, row);
    } else {
      rows.delete(text(dict(change).gone));
    }
  }
  for (const [key, row] of rows) {
    const before = state.byName.get(key);
    if (before && equal(before, row)) rows.set(key, before);
  }
  state.byName = rows;
  state.rows = [...rows.values()];
  if (added) state.rows.sort((one, other) => (one.name < other.name ? -1 : 1));
}

function patterns(sources) {
  const found = [];
  for (const source of list(sources)) {
    try {
      found.push(new RegExp(`^(?:${text(source)})$`));
    } catch {
      // One that no browser understands allows nothing.
    }
  }
  return found;
}

async function look() {
  const answer = await getData('/page/data/index.json', etag);
  state.heard = Date.now();
  if (answer === null) return;
  const index = answer.document;
  try {
    await loadBase(text(index.base));
  } catch (error) {
    // Replaced between the two requests: the next look finds its successor.
    if (error.status !== 404) throw error;
    etag = '';
    delay = 500;
    return;
  }
  etag = answer.etag;
  state.user = answer.user || state.user;
  state.registry = text(index.registry) || location.host;
  deletable = patterns(index.delete);
  merge(list(index.changes));
  state.index = {
    made: text(index.made),
    fleet: index.fleet === true,
    retention: retention(index.retention),
    storage: index.storage ? { size: number(dict(index.storage).size), free: number(dict(index.storage).free) } : null,
  };
}

// Looks at once, and then every few seconds as long as somebody may be looking.
export function poll() {
  if (stopped) return Promise.resolve();
  clearTimeout(timer);
  asking ??= (async () => {
    try {
      delay = EVERY;
      await look();
      state.failure = null;
    } catch (error) {
      state.failure = error instanceof PageError ? error : new PageError(500, 'The page failed', 'Reload it.', String(error));
      delay = Math.min(Math.max(delay, EVERY) * 2, SLOWEST);
    }
    asking = null;
    tell();
    if (!stopped && !document.hidden) timer = setTimeout(poll, delay);
  })();
  return asking;
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && !asking) poll();
});
window.addEventListener('online', () => poll());

// Forgets all that was read: after the log-out nobody else may see it.
export function stop() {
  stopped = true;
  clearTimeout(timer);
  Object.assign(state, { index: null, byName: new Map(), rows: [], user: '', failure: null });
  base = { name: '', rows: new Map() };
  repositories.clear();
}

export const mayDelete = (repository) => deletable.some((pattern) => pattern.test(repository));

function retention(value) {
  const found = dict(value);
  return { configured: found.configured === true, next: text(found.next) || null };
}

// ---- one repository ------------------------------------------------------------------------------------------------------------------

const repositories = new Map();
// Tags that were deleted here, until the index knows it as well.
const deleted = new Map();
const DELETED_FOR = 120_000;

export function tagDeleted(repository, tag, digest) {
  deleted.set(`${repository}:${tag}@${digest}`, Date.now());
}

const isDeleted = (repository, tag) => {
  const at = deleted.get(`${repository}:${tag.name}@${tag.digest}`);
  return at !== undefined && Date.now() - at < DELETED_FOR;
};

function toTag(value) {
  const tag = dict(value);
  const created = Date.parse(text(tag.created));
  return {
    name: text(tag.name),
    digest: text(tag.digest),
    kind: text(tag.kind) || 'image',
    type: text(tag.media_type),
    size: number(tag.size),
    created: Number.isNaN(created) ? null : created / 1000,
    pushed: number(tag.pushed),
    by: text(tag.pushed_by),
    pulled: number(tag.pulled),
  };
}

const COUNTED = ['critical', 'high', 'medium', 'low', 'negligible', 'unknown'];

function toImage(value) {
  const image = dict(value);
  const scan = image.scan ? dict(image.scan) : null;
  return {
    platforms: list(image.platforms).map(text),
    artifact: text(image.artifact_type),
    signatures: list(image.signatures).map(dict).map((one) => ({ form: text(one.form), digest: text(one.digest), by: text(one.signed_by) })),
    attestations: list(image.attestations).map(dict).map((one) => ({ digest: text(one.digest), predicate: text(one.predicate) })),
    scan: scan && {
      digest: text(scan.digest),
      created: text(scan.created),
      scanner: text(scan.scanner),
      database: text(scan.database),
      verdict: text(scan.verdict),
      counts: COUNTED.map((severity) => [severity, number(dict(scan.counts)[severity]) ?? 0]),
    },
    sboms: list(image.sbom).map(dict).map((one) => ({ kind: text(one.kind), digest: text(one.digest), blob: text(one.blob), size: number(one.size) })),
    referrers: list(image.referrers).map(dict).map((one) => ({ digest: text(one.digest), type: text(one.artifact_type), size: number(one.size) })),
    hosts: number(dict(image.running).hosts) ?? (Array.isArray(image.running) ? image.running.length : 0),
  };
}

function toRepository(wanted, document, etagOf) {
  const images = dict(document.images);
  const decisions = dict(document.decisions);
  const shaped = new Map();
  return {
    name: wanted,
    etag: etagOf,
    made: text(document.made),
    retention: retention(document.retention),
    all: list(document.tags).map(toTag),
    untagged: list(document.untagged).map(dict).map((one) => ({
      digest: text(one.digest),
      kind: text(one.kind),
      size: number(one.size),
      pushed: number(one.pushed),
      reason: text(one.reason),
    })),
    shared: number(document.layers_shared),
    problems: list(document.problems).map(text),
    // Of thousands of images a few are looked at: each is brought into shape when it is.
    image(digest) {
      if (!shaped.has(digest)) shaped.set(digest, toImage(own(images, digest)));
      return shaped.get(digest);
    },
    decision(tag) {
      const found = own(decisions, tag);
      return found ? { kept: dict(found).kept !== false, reason: text(dict(found).reason) } : null;
    },
    get tags() {
      return deleted.size ? this.all.filter((tag) => !isDeleted(wanted, tag)) : this.all;
    },
  };
}

// The repository, the same object as before where nothing has changed.
export async function loadRepository(repository) {
  if (!isName(repository)) throw new PageError(404, 'No repository can have this name', 'Go back to the list of repositories.');
  const known = repositories.get(repository);
  const answer = await getData(dataPath(repository), known?.etag);
  if (answer === null) return known;
  const loaded = toRepository(repository, answer.document, answer.etag);
  // The last ones only: they may be large.
  repositories.delete(repository);
  repositories.set(repository, loaded);
  if (repositories.size > 3) repositories.delete(repositories.keys().next().value);
  return loaded;
}

export const knownRepository = (repository) => repositories.get(repository);

// Tags of all repositories with this digest, as {repository, tag}.
export async function sameDigest(digest) {
  if (!isDigest(digest)) return [];
  try {
    const { document } = await getData(digestPath(digest));
    return list(document.tags).map(text).map((place) => {
      const [repository, tag = ''] = place.split(/:(.*)/s);
      return { repository, tag };
    });
  } catch (error) {
    // Most images are in one repository alone, and have no such file.
    if (error.status === 404) return [];
    throw error;
  }
}

// ---- the fleet -----------------------------------------------------------------------------------------------------------------------

let fleet = { etag: '', document: null };

export async function loadFleet() {
  const answer = await getData('/page/data/fleet.json', fleet.etag);
  if (answer !== null) fleet = { etag: answer.etag, document: answer.document };
  return fleet.document;
}
