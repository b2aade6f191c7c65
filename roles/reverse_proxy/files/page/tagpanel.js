// All about one tag, beside the list of tags.
import { address, blobPath } from './api.js';
import { pullCommands } from './commands.js';
import { digestShort, digestWhole } from './copy.js';
import { mayDelete, sameDigest, state } from './data.js';
import { el, icon, link } from './dom.js';
import { bytes, counted, time } from './format.js';
import { panel } from './list.js';
import { badge, bare, button, callout, facts, faint, note, pushed, scanResult, tags } from './parts.js';
import { confirmRemoval } from './remove.js';
import { to } from './routes.js';
import { isDigest, isName } from './shape.js';
import { long, name } from './text.js';

// The SBOM comes from the registry itself: the address is made of a checked name and a checked digest.
export function download(repository, sbom, label) {
	const kind = { cyclonedx: 'CycloneDX', spdx: 'SPDX' }[sbom.kind] ?? 'SBOM';
	if (!isName(repository) || !isDigest(sbom.blob)) return kind;
	const file = `${repository.replaceAll('/', '-')}-${label}.${sbom.kind === 'spdx' ? 'spdx' : 'cdx'}.json`;
	const anchor = el('a.download', { download: file }, icon('down'), kind, sbom.size !== null && faint(` ${bytes(sbom.size)}`));
	anchor.setAttribute('href', address(blobPath(repository, sbom.blob)));
	return anchor;
}

// The keys that have signed, "" for those that are not known, or null where it is not signed.
export function signers(image) {
	return image.signatures.length ? [...new Set(image.signatures.map((one) => one.by))] : null;
}

function signed(image) {
	const by = signers(image);
	if (!by) return faint('Not signed');
	return bare(by.map((key) => (key ? badge('good', key) : [badge('warn', 'unknown key'), note('No key in gate_trusted_keys made it.')])));
}

function scanned(scan) {
	if (!scan) return faint('Not scanned. The gate (promote.yml) and registry_scan keep their reports here.');
	return [
		scanResult(scan, 6),
		scan.sentence && note(name(scan.sentence, 300)),
		note('by ', name(scan.scanner || 'an unknown scanner', 60), scan.created && [', ', time(scan.created)], scan.database && [', database of ', time(scan.database)]),
	];
}

function others(repository, digest, here) {
	const elsewhere = el('div');
	sameDigest(digest).then(
		(places) => {
			const rest = places.filter((place) => place.repository !== repository);
			if (rest.length) elsewhere.append(el('h4', 'In other repositories'), tags(rest.map((place) => link(to.repository(place.repository, place.tag), name(`${place.repository}:${place.tag}`)))));
		},
		(error) => elsewhere.append(note(`Other repositories could not be asked: ${error.title ?? 'the page failed'}.`)),
	);
	return [here.length ? tags(here.map((other) => link(to.repository(repository, other), name(other, 128)))) : note('No other tag of this repository.'), elsewhere];
}

function retained({ retention, decision }, tag) {
	if (!retention.configured) return null;
	const decided = decision(tag.name);
	if (!decided) return ['Retention', faint('No rule applies: kept.')];
	return ['Retention', decided.kept ? badge('good', 'kept') : badge('warn', 'would be deleted'), ' ', long(decided.reason)];
}

export function tagPanel({ repository, tag, close, removed }) {
	const image = repository.image(tag.digest);
	const here = repository.tags.filter((other) => other.digest === tag.digest && other.name !== tag.name).map((other) => other.name);
	const remove = (event) => confirmRemoval({ repository: repository.name, tag, siblings: here, opener: event.currentTarget, removed });
	return panel('tag', tag.name, close,
		digestWhole(tag.digest),
		el('p', { class: 'actions' },
			isDigest(tag.digest) && link(to.image(repository.name, tag.digest), { class: 'button' }, 'Show image details'),
			mayDelete(repository.name) && button('danger', 'Delete this tag …', remove)),
		el('h3', 'Pull'),
		pullCommands(repository.name, tag.name, tag.digest),
		el('h3', 'Details'),
		facts([
			['Kind', name(tag.kind, 40), image.artifact && [' ', name(image.artifact, 80)]],
			['Platforms', image.platforms.length ? tags(image.platforms.map((platform) => name(platform, 60))) : faint('none named')],
			['Size', bytes(tag.size), faint(' with all platforms')],
			['Built', time(tag.created, 'unknown')],
			['Pushed', pushed(tag.pushed, tag.by, 'not known')],
			['Last pull', time(tag.pulled, 'none recorded')],
			['Signed by', signed(image)],
			['Scan', scanned(image.scan)],
			['SBOM', image.sboms.length ? bare(image.sboms.map((sbom) => download(repository.name, sbom, tag.name))) : faint('None is attached.')],
			['Attestations', image.attestations.length ? bare(image.attestations.map((one) => [name(one.predicate || 'unknown predicate', 120), ' ', digestShort(one.digest)])) : faint('None.')],
			image.hosts > 0 && ['Runs on', counted(image.hosts, 'host'), state.index?.fleet && [' ', link(to.fleet('running', { q: tag.digest.slice(0, 19) }), 'Which?')]],
			retained(repository, tag),
		], 'details'),
		el('h3', 'Same digest'),
		others(repository.name, tag.digest, here));
}

export const goneTag = (tag, close) =>
	panel('tag', tag, close, callout('quiet', 'There is no such tag', 'It was deleted, or never pushed. The list shows the tags that are there.'));
