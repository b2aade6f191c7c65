// All about one tag, beside the list of tags.
import { blobPath, address } from './api.js';
import { pull, TOOLS } from './commands.js';
import { command, digestShort, digestWhole } from './copy.js';
import { mayDelete, sameDigest, state } from './data.js';
import { el, icon, link } from './dom.js';
import { bytes, count, counted, time } from './format.js';
import { badge, callout, facts, faint, findings } from './parts.js';
import { confirmRemoval } from './remove.js';
import { to } from './routes.js';
import { isDigest, isName } from './shape.js';
import { long, name, plain } from './text.js';

const MOST = 50;

export function pullCommands(repository, tag, digest) {
  const rows = (what, reference) => {
    const lines = TOOLS.map((tool) => [tool, pull(tool, state.registry, repository, reference)]).filter(([, line]) => line);
    return lines.length ? [el('h4', null, what), lines.map(([tool, line]) => command(line, `${tool} command ${what.toLowerCase()}`))] : [];
  };
  const parts = [tag && rows('By tag', tag), rows('By digest', digest)].flat().filter(Boolean);
  return parts.length ? parts : el('p', { class: 'faint' }, 'This name can’t be used in a command.');
}

// The SBOM comes from the registry itself: the address is made of a checked name and a checked digest.
export function download(repository, sbom, label) {
  const kinds = { cyclonedx: 'CycloneDX', spdx: 'SPDX' };
  const words = `${Object.hasOwn(kinds, sbom.kind) ? kinds[sbom.kind] : 'SBOM'}`;
  if (!isName(repository) || !isDigest(sbom.blob)) return name(words);
  const anchor = el('a', { class: 'download', download: `${repository.replaceAll('/', '-')}-${label}.${sbom.kind === 'spdx' ? 'spdx' : 'cdx'}.json` }, icon('down'), `${words}`, sbom.size !== null && faint(` ${bytes(sbom.size)}`));
  anchor.setAttribute('href', address(blobPath(repository, sbom.blob)));
  return anchor;
}

export function signers(image) {
  if (!image.signatures.length) return null;
  return [...new Set(image.signatures.map((one) => one.by))];
}

function signed(image) {
  const by = signers(image);
  if (!by) return faint('Not signed');
  return el('ul', { class: 'bare' }, by.map((key) => el('li', null, key
    ? badge('good', key)
    : [badge('warn', 'unknown key'), el('p', { class: 'faint' }, 'No key that this registry knows has made this signature.')])));
}

function scanned(scan) {
  if (!scan) return faint('Not scanned. The gate (promote.yml) and registry_scan keep their reports here.');
  return [
    findings(scan.counts, 6),
    el('p', { class: 'faint' }, 'by ', name(scan.scanner || 'an unknown scanner', 60), scan.created && [', ', time(scan.created)], scan.database && [', database of ', time(scan.database, scan.database)]),
  ];
}

function others(repository, digest, tag, here) {
  const shown = here.slice(0, MOST).map((other) => el('li', null, link(to.repository(repository, other), null, name(other, 128))));
  const node = el('div', null, here.length
    ? [el('ul', { class: 'tags' }, shown), here.length > MOST && faint(`and ${count(here.length - MOST)} more`)]
    : faint('No other tag of this repository.'));
  const elsewhere = el('div');
  sameDigest(digest).then(
    (places) => {
      const rest = places.filter((place) => place.repository !== repository);
      if (!rest.length) return;
      elsewhere.append(el('h4', null, 'In other repositories'), el('ul', { class: 'tags' }, rest.slice(0, MOST).map((place) =>
        el('li', null, link(to.repository(place.repository, place.tag), null, name(`${place.repository}:${place.tag}`, 200))))));
      if (rest.length > MOST) elsewhere.append(faint(`and ${count(rest.length - MOST)} more`));
    },
    (error) => elsewhere.append(faint(`Other repositories could not be asked: ${error.title ?? 'the page failed'}.`)),
  );
  return [node, elsewhere];
}

function tonight(repository, tag) {
  if (!repository.retention.configured) return null;
  const decision = repository.decision(tag.name);
  if (!decision) return ['Tonight', faint('Not decided yet.')];
  return [repository.retention.next ? 'Next retention' : 'Retention', decision.kept ? badge('good', 'stays') : badge('warn', 'goes'), ' ', long(decision.reason), repository.retention.next && el('p', { class: 'faint' }, 'Runs ', time(repository.retention.next), '.')];
}

export function tagPanel({ repository, tag, close, removed }) {
  const image = repository.image(tag.digest);
  const here = repository.tags.filter((other) => other.digest === tag.digest && other.name !== tag.name).map((other) => other.name);
  const actions = el('p', { class: 'actions' },
    isDigest(tag.digest) && link(to.image(repository.name, tag.digest), { class: 'button' }, 'Look into the image'),
    mayDelete(repository.name) && el('button', { type: 'button', class: 'danger', on: { click: (event) => confirmRemoval({ repository: repository.name, tag, siblings: here, opener: event.currentTarget, removed }) } }, 'Delete this tag …'));
  return el('aside', { class: 'panel', 'aria-label': `Tag ${plain(tag.name, 128)}` },
    el('div', { class: 'panel-head' }, el('h2', { tabindex: -1 }, name(tag.name, 128)), el('button', { type: 'button', class: 'ghost', 'aria-label': 'Close this tag', title: 'Close (Escape)', on: { click: close } }, icon('cross'))),
    digestWhole(tag.digest),
    facts([
      ['Kind', name(tag.kind, 40), image.artifact && faint([' ', name(image.artifact, 80)])],
      ['Platforms', image.platforms.length ? el('ul', { class: 'tags' }, image.platforms.slice(0, MOST).map((platform) => el('li', null, name(platform, 60)))) : faint('none named')],
      ['Size', bytes(tag.size), faint(' with all platforms')],
      ['Built', time(tag.created, 'not told')],
      ['Pushed', time(tag.pushed, 'not known'), tag.by && [' by ', name(tag.by, 60)]],
      ['Last pull', time(tag.pulled, 'none known')],
      ['Signed by', signed(image)],
      ['Scan', scanned(image.scan)],
      ['SBOM', image.sboms.length ? el('ul', { class: 'bare' }, image.sboms.slice(0, MOST).map((sbom) => el('li', null, download(repository.name, sbom, tag.name)))) : faint('None is attached.')],
      ['Attestations', image.attestations.length ? el('ul', { class: 'bare' }, image.attestations.slice(0, MOST).map((one) => el('li', null, name(one.predicate || 'unknown predicate', 120), ' ', digestShort(one.digest)))) : faint('None.')],
      ['Runs on', image.hosts ? [counted(image.hosts, 'host'), state.index?.fleet && [' ', link(to.fleet('running', { q: tag.digest.slice(0, 19) }), null, 'Which?')]] : faint('No host is known to run it.')],
      tonight(repository, tag),
    ], 'details'),
    el('h3', null, 'Pull'),
    pullCommands(repository.name, tag.name, tag.digest),
    el('h3', null, 'Same digest'),
    others(repository.name, tag.digest, tag.name, here),
    actions);
}

export function goneTag(tag, close) {
  return el('aside', { class: 'panel', 'aria-label': 'Tag' },
    el('div', { class: 'panel-head' }, el('h2', { tabindex: -1 }, name(tag, 128)), el('button', { type: 'button', class: 'ghost', 'aria-label': 'Close this tag', on: { click: close } }, icon('cross'))),
    callout('quiet', 'There is no such tag', el('p', null, 'It was deleted, or never pushed. The list shows the tags that are there.')));
}
