// One image, as the registry's API has it.
import { getConfig, getManifest } from './api.js';
import { pullCommands } from './commands.js';
import { digestShort, digestWhole } from './copy.js';
import { knownRepository, loadRepository } from './data.js';
import { el, link } from './dom.js';
import { bytes, counted, shortDigest, time } from './format.js';
import { Difference } from './difference.js';
import { children, configOf, configuration, isImageConfig, isIndex, layers, steps, total } from './manifest.js';
import { bare, button, crumbs, facts, faint, h1, loading, note, plainTable, problem, pushed, scanResult, section, tags as tagList } from './parts.js';
import { to } from './routes.js';
import { isDigest } from './shape.js';
import { download, signers } from './tagpanel.js';
import { long, name, plain } from './text.js';

export async function readImage(repository, digest) {
	const manifest = await getManifest(repository, digest);
	if (isIndex(manifest)) return { manifest, document: null, config: null };
	const descriptor = configOf(manifest);
	const document = isDigest(descriptor.digest) && isImageConfig(descriptor.type) ? await getConfig(repository, descriptor) : null;
	return { manifest, document, config: document && configuration(document) };
}

export function usualChild(manifest, wanted) {
	const found = children(manifest).filter((child) => child.runs);
	return found.find((child) => child.digest === wanted || child.platform === wanted) ?? found.find((child) => child.platform === 'linux/amd64') ?? found[0] ?? null;
}

export class Image {
	constructor(context, route) {
		this.context = context;
		this.route = route;
		this.name = route.repository;
		this.digest = route.digest;
		context.title(`${this.name}@${this.digest.slice(0, 19)}`);
		this.tags = el('div.under');
		this.content = el('div.cards.two', loading());
		context.main.append(
			el('header', { class: 'head' },
				crumbs(link(to.repositories(), 'Repositories'), link(to.repository(this.name), name(this.name))),
				h1('Image ', el('code', shortDigest(this.digest))),
				el('div.under', digestWhole(this.digest)), this.tags),
			this.content);
		this.#load();
	}

	async #load() {
		this.content.replaceChildren(loading());
		try {
			// The list of tags tells what else is known; the image can be shown without it.
			const [read, repository] = await Promise.all([
				readImage(this.name, this.digest),
				knownRepository(this.name) ?? loadRepository(this.name).catch(() => null),
			]);
			this.repository = repository;
			this.read = read;
			await this.#platform();
			this.#show();
		} catch (error) {
			if (!this.gone) this.content.replaceChildren(problem(error, () => this.#load()));
		}
	}

	async #platform() {
		const { manifest } = this.read;
		this.child = isIndex(manifest) ? usualChild(manifest, this.route.parameters.platform) : null;
		this.shown = this.child ? await readImage(this.name, this.child.digest) : this.read;
	}

	async update(route) {
		const before = this.route.parameters;
		this.route = route;
		if (!this.read) return;
		if (before.platform !== route.parameters.platform) {
			try {
				await this.#platform();
			} catch (error) {
				if (!this.gone) this.content.replaceChildren(problem(error, () => this.#load()));
				return;
			}
			this.#show();
			this.content.querySelector('select')?.focus();
		} else if (before.with !== route.parameters.with) {
			this.difference.show(route.parameters.with ?? '');
		}
	}

	data() {}

	#go(parameters) {
		this.context.go(to.image(this.name, this.digest, { ...this.route.parameters, ...parameters }));
	}

	#show() {
		if (this.gone) return;
		const { repository, shown } = this;
		const tags = repository ? repository.tags.filter((tag) => tag.digest === this.digest) : [];
		this.tags.replaceChildren(...(tags.length
			? [tagList(tags.map((tag) => link(to.repository(this.name, tag.name), name(tag.name, 128))))]
			: [faint('No tag of this repository points to it.')]));
		this.difference = new Difference({
			repository: this.name,
			tags: () => this.repository?.tags ?? [],
			digest: this.digest,
			label: tags[0]?.name ?? 'this image',
			shown,
			platform: this.child?.platform,
			read: readImage,
			usualChild,
			choose: (tag) => this.#go({ with: tag }),
		});
		const parts = [
			this.#overview(tags), this.#configuration(), section('Pull', pullCommands(this.name, tags[0]?.name ?? '', this.digest)), this.#layers(), ...this.#texts(),
			this.#index(), this.#belongs(), this.difference.node,
		];
		this.content.replaceChildren(...parts.filter(Boolean));
		this.difference.show(this.route.parameters.with ?? '');
		this.context.ready();
	}

	#overview(tags) {
		const { manifest } = this.read;
		const { config } = this.shown;
		const image = this.repository?.image(this.digest);
		return section('Overview', facts([
			['Kind', isIndex(manifest) ? `index of ${counted(children(manifest).length, 'manifest')}` : config ? 'image' : 'artifact'],
			['Media type', name(manifest.type, 120)],
			this.child && ['Platform', this.#chooser(manifest)],
			!this.child && config && ['Platform', name(config.platform, 80)],
			this.child && ['Its digest', digestShort(this.child.digest)],
			['Size', bytes(total(layers(this.shown.manifest)) + (configOf(this.shown.manifest).size ?? 0)), this.child && faint(' of this platform'), tags[0] && this.child && faint(`, ${bytes(tags[0].size)} with all`)],
			config && ['Built', time(config.created, 'unknown')],
			tags[0] && ['Pushed', pushed(tags[0].pushed, tags[0].by, 'not known')],
			image?.scan && ['Scan', scanResult(image.scan, 6)],
			image && signers(image) && ['Signed by', name(signers(image).map((by) => by || 'unknown key').join(', '), 200)],
			image?.sboms.length > 0 && ['SBOM', bare(image.sboms.map((sbom) => download(this.name, sbom, this.digest.slice(7, 19))))],
		], 'details'));
	}

	#chooser(manifest) {
		const select = el('select', { 'aria-label': 'Platform', on: { change: (event) => this.#go({ platform: event.target.value }) } },
			children(manifest).filter((child) => child.runs).map((child) => {
				const option = el('option', { value: child.digest }, plain(child.platform, 60));
				option.selected = child.digest === this.child.digest;
				return option;
			}));
		return select;
	}

	#configuration() {
		const { config, manifest } = this.shown;
		if (!config) {
			if (isIndex(manifest)) return section('Configuration', el('p', 'This index lists no image that an engine runs.'));
			return section('Configuration', facts([
				['Type', name(configOf(manifest).type || 'none', 120)],
				['Digest', digestWhole(configOf(manifest).digest)],
			], 'details'), note('This is an artifact: no engine runs it.'));
		}
		const code = (value) => (value ? el('code', long(value)) : faint('none'));
		const several = (values) => (values.length ? tagList(values.map((value) => name(value, 120))) : faint('none'));
		return section('Configuration', facts([
			['Entry point', code(config.entrypoint)],
			['Command', code(config.command)],
			['User', config.user ? name(config.user, 80) : 'root, since none is set'],
			['Working directory', config.directory ? code(config.directory) : '/'],
			['Exposed ports', several(config.ports)],
			config.volumes.length > 0 && ['Volumes', several(config.volumes)],
			config.signal && ['Stop signal', name(config.signal, 40)],
			config.health && ['Health check', code(config.health)],
			config.author && ['Author', long(config.author)],
		], 'details'));
	}

	#texts() {
		const { config, manifest } = this.shown;
		return [config && environment(config.environment), config && texts('Labels', config.labels, 'No label is set.'), annotations(manifest)];
	}

	#layers() {
		const { manifest, document } = this.shown;
		if (isIndex(manifest)) return null;
		const found = layers(manifest);
		const rows = steps(manifest, document ?? {});
		let number = 0;
		return section('Layers', note(`${counted(found.length, 'layer')}, ${bytes(total(found))}. Steps without a layer only set something.`),
			plainTable('Layers and the commands that made them', [{ label: 'No.', number: true }, 'Command', { label: 'Size', number: true }, 'Digest'], rows.map((row) => [
				row.layer ? String((number += 1)) : faint('–'),
				row.command ? el('code.command-text', long(row.command)) : faint('unknown'),
				row.layer ? bytes(row.layer.size) : faint('0'),
				row.layer ? digestShort(row.layer.digest) : faint('no layer'),
			])));
	}

	#index() {
		const { manifest } = this.read;
		if (!isIndex(manifest)) return null;
		return section('Index', plainTable('What the index lists', ['Platform', 'Digest', { label: 'Size of manifest', number: true }, 'Media type'], children(manifest).map((child) => [
			child.runs ? link(to.image(this.name, child.digest), name(child.platform, 80)) : name(child.platform, 80),
			digestShort(child.digest),
			bytes(child.size),
			name(child.type, 120),
		])));
	}

	// What belongs to the image is known of tagged images alone.
	#belongs() {
		const image = this.repository?.image(this.digest);
		if (!image) return null;
		const rows = [
			...image.signatures.map((one) => ['Signature', one.digest, one.by ? `by ${one.by}` : 'by an unknown key', null]),
			...image.attestations.map((one) => ['Attestation', one.digest, one.predicate, null]),
			...image.sboms.map((one) => ['SBOM', one.digest, one.kind, one.size]),
			...(image.scan ? [['Scan report', image.scan.digest, image.scan.scanner, null]] : []),
		];
		const known = new Set(rows.map(([, digest]) => digest));
		rows.push(...image.referrers.filter((one) => !known.has(one.digest)).map((one) => ['Referrer', one.digest, one.type, one.size]));
		if (!rows.length) {
			return section('Referrers', note('Nothing refers to this image: no signature, no attestation, no SBOM, no scan report.'));
		}
		return section('Referrers', plainTable('What refers to this image', ['Kind', 'What it is', 'Digest', { label: 'Size', number: true }], rows.map(([kind, digest, what, size]) => [
			isDigest(digest) ? link(to.image(this.name, digest), kind) : kind,
			long(what),
			digestShort(digest),
			size === null ? faint('–') : bytes(size),
		])));
	}

	destroy() {
		this.gone = true;
	}
}

// Values may be secrets that a build has left, so that they are shown only when they are asked for.
function environment(values) {
	if (!values.size) return section('Environment', note('No variable is set.'));
	const rows = el('div');
	const toggle = button('plain', '', () => fill(toggle.getAttribute('aria-pressed') !== 'true'));
	const fill = (shown) => {
		toggle.setAttribute('aria-pressed', String(shown));
		toggle.textContent = shown ? 'Hide values' : 'Show values';
		rows.replaceChildren(plainTable('Environment', ['Name', 'Value'], [...values].map(([key, value]) => [el('code', name(key, 200)), shown ? el('code', long(value)) : faint('hidden')])));
	};
	fill(false);
	return section('Environment', rows, el('p.actions', toggle));
}

function texts(title, values, nothing) {
	return section(title, values.size ? plainTable(title, ['Name', 'Text'], [...values].map(([key, value]) => [name(key, 200), long(value)])) : note(nothing));
}

function annotations(manifest) {
	const values = Object.entries(manifest.document.annotations ?? {}).map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]);
	return values.length ? texts('Annotations', new Map(values)) : null;
}
