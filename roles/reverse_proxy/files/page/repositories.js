// The list of repositories, with sums.
import { firstPush } from './commands.js';
import { command } from './copy.js';
import { state } from './data.js';
import { el, link } from './dom.js';
import { bytes, count, time } from './format.js';
import { List, ListView } from './list.js';
import { empty, facts, faint, h1, marked, note, pushed, ranks, verdict } from './parts.js';
import { to } from './routes.js';
import { column, numbers } from './table.js';

const columns = (view) => [
	column('name', 'Repository', 'name', (row) => link(to.repository(row.name), { class: 'main' }, marked(row.name, view.wanted))),
	numbers('tags', 'Tags', 'tags', (row) => count(row.tags)),
	numbers('untagged', 'Untagged', 'untagged', (row) => (row.untagged ? count(row.untagged) : faint('0')), 'Manifests without a tag of their own'),
	numbers('own', 'Own size', 'own', (row) => bytes(row.own), 'Data that only this repository has, of those that you see'),
	numbers('shared', 'Shared size', 'shared', (row) => (row.shared ? bytes(row.shared) : faint('0')), 'Data that other repositories have as well'),
	column('pushed', 'Last push', 'pushed', (row) => pushed(row.pushed, row.by), { desc: true }),
	column('pulled', 'Last pull', 'pulled', (row) => time(row.pulled, 'none recorded'), { desc: true }),
	column('worst', 'Worst scan', (row) => Math.max(0, ranks.indexOf(row.worst)), (row) => verdict(row.worst), { desc: true, help: 'The worst verdict among the tags' }),
];

const SHOWS = {
	label: 'Repositories',
	search: 'Search repositories',
	one: 'repository',
	many: 'repositories',
	kind: 'repositories',
	order: { by: 'name', desc: false },
	key: (row) => row.name,
	text: (row) => row.name.toLowerCase(),
	rows: () => state.rows,
	columns,
	nothing: newcomer,
};

export class Repositories extends ListView {
	constructor(context, route) {
		super();
		Object.assign(this, { context, route, wanted: [] });
		context.title('Repositories');
		this.list = new List(this, SHOWS, (parameters) => context.replace(to.repositories({ ...this.route.parameters, ...parameters })), () => {
			const [first] = this.list.table.rows;
			if (first) context.go(to.repository(first.name));
		});
		this.sums = el('div');
		context.main.append(el('header.head', h1('Repositories'), this.sums), this.list.node);
		this.update(route);
	}

	update(route) {
		this.route = route;
		this.#show({ changed: true });
		this.context.ready();
	}

	data() {
		this.#show({ keep: true });
	}

	#show(options) {
		const rows = this.list.show(options);
		this.sums.replaceChildren(sums(rows, this.wanted.length > 0));
	}
}

function sums(rows, searched) {
	let tags = 0;
	let untagged = 0;
	let own = 0;
	let last = null;
	for (const row of rows) {
		tags += row.tags;
		untagged += row.untagged;
		own += row.own;
		if (row.pushed !== null && (last === null || row.pushed > last)) last = row.pushed;
	}
	const storage = state.index?.storage;
	return facts([
		[searched ? 'Found' : 'Repositories', count(rows.length)],
		['Tags', count(tags)],
		['Untagged', count(untagged)],
		['Own size', el('span', { title: 'What several repositories share is not counted' }, bytes(own))],
		['Last push', time(last, 'none')],
		!searched && storage?.size && ['Storage', `${bytes(storage.size - (storage.free ?? 0))} of ${bytes(storage.size)} used`],
	]);
}

function newcomer() {
	if (state.index?.building) return empty('Reading the storage', 'Repositories appear as they are read.');
	const commands = firstPush(state.registry);
	return empty(
		'No repositories yet',
		el('p', 'There are no repositories that your account may pull. If you may push, push the first image:'),
		el('ol.steps', commands.map((line, at) =>
			el('li', el('p', ['Log in with your user name and password of this registry.', 'Give an image that you have a name in this registry.', 'Push it.'][at]), command(line, line)))),
		note('IMAGE is one of docker image ls, and team/app a name that your account may push to. podman takes the same commands.'),
	);
}
