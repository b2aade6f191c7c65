// One repository: its tags, what has no tag, and what retention will do.
import { reference } from './commands.js';
import { copyButton, digestShort } from './copy.js';
import { knownRepository, loadRepository, score, state } from './data.js';
import { announce, el, link, spoken } from './dom.js';
import { bytes, count, time } from './format.js';
import { fillTabs, List, ListView } from './list.js';
import { badge, callout, crumbs, empty, facts, faint, h1, loading, marked, problem, pushed, scanResult } from './parts.js';
import { to } from './routes.js';
import { isDigest } from './shape.js';
import { column, numbers } from './table.js';
import { download, goneTag, signers, tagPanel } from './tagpanel.js';
import { long, name } from './text.js';

// What retention decides changes without a push, too.
const AGAIN = 60_000;
const none = (what) => [faint('–'), spoken(what)];

function platforms({ platforms: found }) {
	if (!found.length) return none('none named');
	// Most are of Linux, and say so in the panel.
	const short = found.map((platform) => platform.replace(/^linux\//, '').replace(/^arm64\/v8$/, 'arm64'));
	return [name(short.slice(0, 2).join(', '), 60), short.length > 2 && faint(` +${short.length - 2}`)];
}

function signedBy(image) {
	const by = signers(image);
	if (!by) return none('not signed');
	const known = by.find(Boolean);
	return [known ? badge('good', known) : badge('warn', 'unknown key'), by.length > 1 && faint(` +${by.length - 1}`)];
}

const rank = (decision) => (decision ? (decision.kept ? 2 : 1) : 3);

function decided(decision) {
	if (!decision) return none('not decided');
	return decision.kept ? faint('kept') : badge('warn', 'would be deleted', decision.reason);
}

const tagColumn = (view) => column('name', 'Tag', 'name', (tag) => link(to.repository(view.name, tag.name, view.kept()), { class: 'main' }, marked(tag.name, view.wanted)));
const ageColumn = () => column('age', 'Pushed', (tag) => tag.pushed ?? tag.created, (tag) => pushed(tag.pushed ?? tag.created, tag.by), { desc: true });
const sizeColumn = () => numbers('size', 'Size', 'size', (one) => bytes(one.size));
const retentionColumn = (decision) => column('retention', 'Retention', (tag) => rank(decision(tag)), (tag) => decided(decision(tag)), { help: 'What the next run of maintain.yml would do' });

const SHOWS = {
	tags: {
		label: 'Tags',
		search: 'Search tags',
		one: 'tag',
		kind: 'tags',
		order: { by: 'age', desc: true },
		key: (tag) => tag.name,
		text: (tag) => `${tag.name} ${tag.digest} ${tag.by}`.toLowerCase(),
		rows: (view) => view.repository.tags,
		columns: (view) => {
			const image = (tag) => view.repository.image(tag.digest);
			return [
				tagColumn(view),
				column('digest', 'Digest', 'digest', (tag) => digestShort(tag.digest)),
				ageColumn(),
				sizeColumn(),
				column('platforms', 'Platforms', (tag) => image(tag).platforms.join(), (tag) => platforms(image(tag))),
				column('signed', 'Signed by', (tag) => signers(image(tag))?.[0], (tag) => signedBy(image(tag))),
				column('scan', 'Scan', (tag) => score(image(tag).scan?.counts), (tag) => scanResult(image(tag).scan), { desc: true }),
				column('sbom', 'SBOM', (tag) => image(tag).sboms.length, (tag) => (image(tag).sboms.length ? download(view.name, { ...image(tag).sboms[0], size: null }, tag.name) : none('none')), { desc: true }),
				column('pulled', 'Last pull', 'pulled', (tag) => time(tag.pulled, 'none recorded'), { desc: true }),
				retentionColumn((tag) => view.repository.decision(tag.name)),
			];
		},
		nothing: () => empty('No tags', 'What is left here has no tag. The next garbage collection removes what nothing needs.'),
	},
	untagged: {
		label: 'Untagged manifests',
		search: 'Search untagged manifests',
		one: 'manifest',
		kind: 'untagged',
		order: { by: 'pushed', desc: true },
		key: (one) => one.digest,
		text: (one) => `${one.digest} ${one.kind} ${one.reason}`.toLowerCase(),
		rows: (view) => view.repository.untagged,
		columns: (view) => [
			column('digest', 'Digest', 'digest', (one) => (isDigest(one.digest)
				? [link(to.image(view.name, one.digest), { class: 'main' }, el('code', one.digest.slice(7, 19))), copyButton(one.digest, 'the whole digest')]
				: name(one.digest, 40))),
			column('kind', 'Kind', 'kind', (one) => name(one.kind, 60)),
			column('reason', 'Why it is here', 'reason', (one) => name(one.reason, 160)),
			sizeColumn(),
			column('pushed', 'Pushed', 'pushed', (one) => time(one.pushed), { desc: true }),
		],
		nothing: () => empty('Nothing is untagged', 'Platforms of an index, signatures, and what the next garbage collection removes would be listed here.'),
	},
	retention: {
		label: 'What retention would do',
		search: 'Search tags',
		one: 'tag',
		kind: 'retention',
		order: { by: 'retention', desc: false },
		key: (tag) => tag.name,
		text: (tag) => `${tag.name} ${tag.decision?.reason ?? ''}`.toLowerCase(),
		rows: (view) => view.repository.tags.map((tag) => ({ ...tag, decision: view.repository.decision(tag.name) })),
		columns: (view) => [
			tagColumn(view),
			retentionColumn((tag) => tag.decision),
			column('reason', 'Why', (tag) => tag.decision?.reason, (tag) => (tag.decision ? name(tag.decision.reason, 200) : faint('No rule applies: kept.'))),
			sizeColumn(),
			ageColumn(),
		],
		nothing: () => empty('No tags', 'There is nothing that retention could delete.'),
	},
};

export class Repository extends ListView {
	constructor(context, route) {
		super();
		Object.assign(this, { context, route, name: route.repository, row: state.byName.get(route.repository), wanted: [], repository: null });
		context.title(this.name);
		this.facts = el('div');
		this.problems = el('div');
		this.tabs = el('nav.tabs', { 'aria-label': 'Parts of this repository' });
		this.content = el('div', loading());
		const image = reference(state.registry, this.name, 'latest').replace(/:latest$/, '');
		context.main.append(
			el('header', { class: 'head' },
				crumbs(link(to.repositories(), 'Repositories')),
				h1(name(this.name)), image && copyButton(image, `the name ${image}`),
				this.facts),
			this.problems, this.tabs, this.content);
		const known = knownRepository(this.name);
		if (known) this.#arrived(known);
		this.#load();
	}

	kept() {
		const { q, sort, desc, show } = this.route.parameters;
		return { q, sort, desc, show };
	}

	async #load() {
		this.loaded = Date.now();
		try {
			const repository = await loadRepository(this.name);
			if (!this.gone && (repository !== this.repository || this.failed)) this.#arrived(repository);
		} catch (error) {
			if (this.gone) return;
			this.failed = true;
			// What is shown stays while the registry is away; what was deleted does not.
			if (this.repository && error.status !== 404 && error.status !== 403) return;
			this.list?.destroy();
			this.list = null;
			this.repository = null;
			this.tabs.replaceChildren();
			this.facts.replaceChildren();
			this.content.replaceChildren(problem(error, () => this.#load()));
		}
	}

	#arrived(repository) {
		const first = !this.repository;
		this.failed = false;
		this.repository = repository;
		this.#head();
		if (first) this.update(this.route);
		else this.#show({ keep: true, changed: true });
	}

	data() {
		const row = state.byName.get(this.name);
		if (row === this.row && !this.failed && Date.now() - this.loaded < AGAIN) return;
		this.row = row;
		this.#load();
	}

	#going() {
		return this.repository.tags.filter((tag) => this.repository.decision(tag.name)?.kept === false).length;
	}

	#head() {
		const { repository, row } = this;
		const { tags, untagged, problems } = repository;
		this.facts.replaceChildren(facts([
			['Tags', count(tags.length)],
			['Untagged', count(untagged.length)],
			row && ['Own size', bytes(row.own)],
			row && ['Shared size', bytes(row.shared)],
			row && ['Last push', pushed(row.pushed, row.by, 'not known')],
			row && ['Last pull', time(row.pulled, 'none recorded')],
		]));
		this.problems.replaceChildren(...(problems.length
			? [callout('warn', 'Some images are damaged', el('ul', problems.slice(0, 20).map((one) => el('li', long(one)))), el('p', 'Push them again, or restore them from a backup. maintain.yml lists all of them.'))]
			: []));
		const tab = (show, title, amount) => [show, link(to.repository(this.name, '', { show: show === 'tags' ? '' : show }), title), amount];
		const going = this.#going();
		fillTabs(this.tabs, [
			tab('tags', 'Tags', count(tags.length)),
			tab('untagged', 'Untagged', count(untagged.length)),
			tab('retention', 'Retention', repository.retention.configured && (going ? `deletes ${count(going)}` : 'deletes none')),
		], this.showing);
	}

	update(route) {
		const before = this.route;
		this.route = route;
		if (!this.repository) return;
		const showing = Object.hasOwn(SHOWS, route.parameters.show ?? '') ? route.parameters.show : 'tags';
		const built = showing !== this.showing || !this.list;
		if (built) this.#build(showing);
		this.#show({ changed: true });
		if (built || before.tag !== route.tag) this.#panel(before.tag !== route.tag);
		this.context.title(route.tag ? `${this.name}:${route.tag}` : this.name);
		this.context.ready();
	}

	#build(showing) {
		this.list?.destroy();
		this.showing = showing;
		this.#head();
		this.list = new List(this, SHOWS[showing], (parameters) => this.context.replace(to.repository(this.name, this.route.tag, { ...this.kept(), ...parameters })));
		this.content.replaceChildren(...(showing === 'retention' ? [this.#retention()] : []), this.list.node);
	}

	#retention() {
		const { retention, tags } = this.repository;
		if (!retention.configured) {
			return callout('quiet', 'No retention rules are set: every tag is kept', 'Rules in maintenance_retention delete unused tags. maintain.yml applies them.');
		}
		const going = this.#going();
		return callout(going ? 'warn' : 'good', going ? `${count(going)} of ${count(tags.length)} tags would be deleted` : 'Every tag is kept',
			'Tags are deleted only when maintain.yml runs. The following garbage collection frees the space.');
	}

	#show(options) {
		this.list.show(options);
		// The panel is made anew only where its own tag has changed, so that a selection or the focus in it stays.
		if (options.keep && this.route.tag && this.tag?.digest !== this.#tag()?.digest) this.#panel(false);
	}

	#tag() {
		return this.repository.tags.find((tag) => tag.name === this.route.tag);
	}

	#panel(moved) {
		const { tag } = this.route;
		const close = () => this.close();
		this.tag = tag ? this.#tag() : null;
		const shown = tag && (this.tag ? tagPanel({ repository: this.repository, tag: this.tag, close, removed: (gone) => this.#removed(gone) }) : goneTag(tag, close));
		this.list.panel(tag, shown, moved);
		if (tag && moved) announce(`Tag ${tag}`);
	}

	#removed(tag) {
		const index = this.list.table.indexes.get(tag.name) ?? 0;
		this.#head();
		this.context.replace(to.repository(this.name, '', this.kept()));
		this.list.table.focus(index);
	}

	// Escape: closes the panel, and goes back to the row that it belongs to.
	close() {
		const { tag } = this.route;
		if (!tag) return false;
		this.list.left = tag;
		this.context.go(to.repository(this.name, '', this.kept()));
		return true;
	}
}
