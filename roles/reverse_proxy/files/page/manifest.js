// What manifests and configurations say, and how two images differ. Pure functions.
import { dict, isDigest, list, number, own, text } from './shape.js';

const INDEXES = ['application/vnd.oci.image.index.v1+json', 'application/vnd.docker.distribution.manifest.list.v2+json'];

export const isIndex = (manifest) => INDEXES.includes(manifest.type) || Array.isArray(manifest.document.manifests);

function descriptor(value) {
	const found = dict(value);
	return { digest: text(found.digest), size: number(found.size), type: text(found.mediaType), annotations: dict(found.annotations) };
}

function platformOf(value) {
	const platform = dict(value);
	const parts = [text(platform.os), text(platform.architecture), text(platform.variant)].filter(Boolean).join('/');
	const version = text(platform['os.version']);
	return parts + (version ? ` (${version})` : '');
}

// What an index lists. Attestations of BuildKit are listed as the platform unknown/unknown.
export function children(manifest) {
	return list(manifest.document.manifests).map((value) => {
		const platform = platformOf(dict(value).platform);
		const found = descriptor(value);
		const attests = own(found.annotations, 'vnd.docker.reference.type') === 'attestation-manifest';
		return { ...found, platform: attests ? 'attestation' : platform || 'no platform', runs: !attests && platform !== 'unknown/unknown' && isDigest(found.digest) };
	});
}

export function layers(manifest) {
	return list(manifest.document.layers).map(descriptor);
}

export const configOf = (manifest) => descriptor(manifest.document.config);

export const isImageConfig = (type) =>
	type === 'application/vnd.oci.image.config.v1+json' || type === 'application/vnd.docker.container.image.v1+json';

function argv(value) {
	return list(value).map(text).map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word))).join(' ');
}

export function configuration(document) {
	const config = dict(document.config);
	return {
		platform: platformOf(document),
		created: text(document.created),
		author: text(document.author),
		entrypoint: argv(config.Entrypoint),
		command: argv(config.Cmd),
		user: text(config.User),
		directory: text(config.WorkingDir),
		ports: Object.keys(dict(config.ExposedPorts)),
		volumes: Object.keys(dict(config.Volumes)),
		signal: text(config.StopSignal),
		health: argv(dict(config.Healthcheck).Test),
		environment: new Map(list(config.Env).map(text).map((entry) => {
			const [key, value = ''] = entry.split(/=(.*)/s);
			return [key, value];
		})),
		labels: new Map(Object.entries(dict(config.Labels)).map(([key, value]) => [key, text(value)])),
	};
}

// The layers, each with the command of the history that made it. Steps without a layer are kept between them.
export function steps(manifest, document) {
	const found = layers(manifest);
	const rows = [];
	let next = 0;
	for (const entry of list(document.history).map(dict)) {
		const bare = entry.empty_layer === true;
		const layer = bare ? null : (found[next] ?? null);
		if (!bare) next += 1;
		rows.push({ layer, command: command(text(entry.created_by)), comment: text(entry.comment), created: text(entry.created) });
	}
	// A history may be missing, or shorter than the list of layers.
	for (const layer of found.slice(next)) rows.push({ layer, command: own(layer.annotations, 'org.opencontainers.image.title') ?? '', comment: '', created: '' });
	return rows;
}

// What builders put around the command of a step says nothing of it.
function command(line) {
	return line.replace(/^\/bin\/sh -c #\(nop\)\s+/, '').replace(/^\/bin\/sh -c /, 'RUN ').replace(/ # buildkit$/, '');
}

const added = (sum, layer) => sum + (layer.size ?? 0);
export const total = (found) => found.reduce(added, 0);

export function compareLayers(before, after) {
	const had = new Set(before.map((layer) => layer.digest));
	const has = new Set(after.map((layer) => layer.digest));
	return {
		same: after.filter((layer) => had.has(layer.digest)),
		added: after.filter((layer) => !had.has(layer.digest)),
		removed: before.filter((layer) => !has.has(layer.digest)),
	};
}

const SINGLE = [
	['Entry point', 'entrypoint'],
	['Command', 'command'],
	['User', 'user'],
	['Working directory', 'directory'],
	['Platform', 'platform'],
	['Stop signal', 'signal'],
	['Health check', 'health'],
];

function compareMaps(what, before, after, secret) {
	const rows = [];
	for (const key of new Set([...before.keys(), ...after.keys()])) {
		const [old, now] = [before.get(key), after.get(key)];
		if (old === now) continue;
		const shown = (value) => (value === undefined ? null : secret ? '' : value);
		rows.push({ what: `${what} ${key}`, before: shown(old), after: shown(now), hidden: secret });
	}
	return rows;
}

// [{what, before, after, hidden}]: null where there is nothing. Values of the environment may be secrets, and are left out.
export function compareConfigurations(before, after) {
	const rows = SINGLE.filter(([, key]) => before[key] !== after[key]).map(([what, key]) => ({ what, before: before[key] || null, after: after[key] || null }));
	for (const [what, key] of [['Ports', 'ports'], ['Volumes', 'volumes']]) {
		const [old, now] = [before[key].join(' '), after[key].join(' ')];
		if (old !== now) rows.push({ what, before: old || null, after: now || null });
	}
	return [...rows, ...compareMaps('Environment', before.environment, after.environment, true), ...compareMaps('Label', before.labels, after.labels, false)];
}
