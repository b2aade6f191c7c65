// The data files of the page: fetched, brought into shape, and kept up to date.
import { dataPath, digestPath, getData } from './api.js';
import { PageError, UNREADABLE } from './errors.js';
import { seconds } from './format.js';
import { dict, isDigest, isName, list, number, own, pick, picks, text, yes } from './shape.js';

const EVERY = 5000;
const SLOWEST = 30_000;

export const state = {
	index: null,
	byName: new Map(),
	rows: [],
	user: '',
	registry: location.host,
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

export function watch(listener) {
	listeners.add(listener);
	return () => listeners.delete(listener);
}

const tell = () => {
	for (const listener of [...listeners]) listener();
};

const amount = (value) => number(value) ?? 0;
const ROW = {
	name: text,
	tags: amount,
	untagged: amount,
	own: ['own_bytes', amount],
	shared: ['shared_bytes', amount],
	pushed: number,
	by: ['pushed_by', text],
	pulled: number,
	worst: text,
};

function toRow(columns, values) {
	const named = {};
	columns.forEach((column, at) => {
		named[column] = values[at];
	});
	return pick(named, ROW);
}

const equal = (one, other) => Object.keys(ROW).every((field) => one[field] === other[field]);

async function loadBase(file) {
	if (base.name === file) return;
	if (!/^index-[0-9A-Za-z._-]+\.json$/.test(file)) throw new PageError(502, 'The data of the page cannot be read', UNREADABLE);
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
	if (answer === null || stopped) return;
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
	if (stopped) return;
	etag = answer.etag;
	state.user = answer.user || state.user;
	state.registry = text(index.registry) || location.host;
	deletable = patterns(index.delete);
	merge(list(index.changes));
	state.index = {
		made: text(index.made),
		building: index.complete === false,
		fleet: yes(index.fleet),
		retention: retention(index.retention),
		storage: pick(index.storage, { size: number, free: number }),
	};
}

// Looks at once, and then every few seconds while the page is visible.
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
	fleet = { etag: '', document: null };
	deleted.clear();
}

export const mayDelete = (repository) => deletable.some((pattern) => pattern.test(repository));

const retention = (value) => pick(value, { configured: yes });

// ---- one repository

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

const TAG = {
	name: text,
	digest: text,
	kind: (value) => text(value) || 'image',
	size: number,
	created: seconds,
	pushed: number,
	by: ['pushed_by', text],
	pulled: number,
};
const SEVERITIES = ['critical', 'high', 'medium', 'low', 'negligible', 'unknown'];
// One number for what a scan has found, to sort by.
const WEIGHT = { critical: 1e9, high: 1e6, medium: 1e3, low: 1 };
export const score = (counts) => counts && counts.reduce((sum, [severity, found]) => sum + found * (WEIGHT[severity] ?? 0.001), 0);

// [[severity, number]], the worst first.
export const severities = (counts) => SEVERITIES.map((severity) => [severity, number(dict(counts)[severity]) ?? 0]);

const IMAGE = {
	platforms: (value) => list(value).map(text),
	artifact: ['artifact_type', text],
	signatures: (value) => picks(value, { digest: text, by: ['signed_by', text] }),
	attestations: (value) => picks(value, { digest: text, predicate: text }),
	scan: (value) => value && pick(value, { digest: text, created: text, scanner: text, database: text, counts: (value) => value && severities(value), verdict: text, sentence: text }),
	sboms: ['sbom', (value) => picks(value, { kind: text, digest: text, blob: text, size: number })],
	referrers: (value) => picks(value, { digest: text, type: ['artifact_type', text], size: number }),
	hosts: ['running', (value) => number(dict(value).hosts) ?? list(value).length],
};

function toRepository(wanted, document, etagOf) {
	const images = dict(document.images);
	const decisions = dict(document.decisions);
	const shaped = new Map();
	return {
		name: wanted,
		etag: etagOf,
		made: text(document.made),
		retention: retention(document.retention),
		all: picks(document.tags, TAG),
		untagged: picks(document.untagged, { digest: text, kind: text, size: number, pushed: number, reason: text }),
		problems: list(document.problems).map(text),
		image(digest) {
			if (!shaped.has(digest)) shaped.set(digest, pick(own(images, digest), IMAGE));
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

// ---- the fleet

let fleet = { etag: '', document: null };

export async function loadFleet() {
	const answer = await getData('/page/data/fleet.json', fleet.etag);
	if (answer !== null) fleet = { etag: answer.etag, document: answer.document };
	return fleet.document;
}
