// A table with its search field, and room for a panel beside it: what lists of tags, hosts and the rest have in common.
import { el, icon } from './dom.js';
import { empty, matches, Search, words } from './parts.js';
import { Table } from './table.js';
import { name, plain } from './text.js';

// shows: {label, search, one, many, kind, order, key, text, rows, columns, nothing}; view: {route, wanted: words searched for}.
// replace(parameters) changes the address.
export class List {
	constructor(view, shows, replace, onEnter) {
		Object.assign(this, { view, shows });
		this.search = new Search({
			label: shows.search,
			value: view.route.parameters.q,
			onInput: (query) => replace({ q: query.trim() }),
			onDown: () => this.table.focus(0),
			onEnter,
		});
		this.table = new Table({
			label: shows.label,
			kind: shows.kind,
			key: shows.key,
			order: this.#order(),
			onOrder: ({ by, desc }) => replace({ sort: by, desc: desc ? '1' : '' }),
			columns: shows.columns(view),
		});
		this.nothing = el('div');
		this.side = el('div.side');
		this.split = el('div.split', el('div.list', this.table.node, this.nothing), this.side);
		this.node = el('div', el('div.toolbar', this.search.node), this.split);
	}

	#order() {
		const { sort, desc } = this.view.route.parameters;
		return sort ? { by: sort, desc: desc === '1' } : this.shows.order;
	}

	// keep: the reader stays where they are. changed: all rows are drawn anew. Returns the rows that are shown.
	show(options) {
		const { shows, view } = this;
		const query = view.route.parameters.q ?? '';
		const all = shows.rows(view);
		view.wanted = words(query);
		const rows = view.wanted.length ? all.filter((row) => matches(shows.text(row), view.wanted)) : all;
		this.search.value = query;
		this.search.node.hidden = all.length === 0;
		this.search.tell(rows.length, all.length, shows.one, shows.many);
		this.table.setOrder(this.#order());
		this.table.setRows(rows, options);
		this.nothing.replaceChildren(...(rows.length ? [] : [all.length ? this.#notFound() : shows.nothing(view)]));
		if (query !== (this.query ?? query)) this.#toTop();
		this.query = query;
		return rows;
	}

	#notFound() {
		return empty('Nothing matches', 'Each word is searched for by itself, in any order.');
	}

	#toTop() {
		const top = this.node.getBoundingClientRect().top + scrollY - 80;
		if (scrollY > top) window.scrollTo({ top, behavior: 'instant' });
	}

	// Shows a panel for the row of this key, or none. moved: the reader has asked for it, and is taken there.
	panel(key, node, moved) {
		this.table.setCurrent(key);
		this.split.classList.toggle('open', Boolean(node));
		this.side.replaceChildren(...(node ? [node] : []));
		if (node && moved) {
			node.querySelector('h2').focus({ preventScroll: true });
			const { top } = node.getBoundingClientRect();
			if (top < 0 || top > innerHeight - 120) node.scrollIntoView({ block: 'start' });
		} else if (!node && this.left) {
			this.table.focusKey(this.left);
			this.left = '';
		}
	}

	focusSearch() {
		this.search.input.focus();
		this.search.input.select();
	}

	destroy() {
		this.table.destroy();
	}
}

// What views with a list have in common.
export class ListView {
	focusSearch() {
		this.list?.focusSearch();
	}

	destroy() {
		this.gone = true;
		this.list?.destroy();
	}
}

export function panel(what, title, close, ...content) {
	const button = el('button', { type: 'button', class: 'ghost', 'aria-label': `Close this ${what}`, title: 'Close (Escape)', on: { click: close } }, icon('cross'));
	return el('aside.panel', { 'aria-label': `${what} ${plain(title, 128)}` }, el('div.panel-head', el('h2', { tabindex: -1 }, name(title, 128)), button), content);
}

// Links to the parts of a view: [[part, link, amount]]. The focus stays on the one that it was on.
export function fillTabs(nav, parts, showing) {
	const focused = nav.contains(document.activeElement) ? document.activeElement.dataset.part : '';
	nav.replaceChildren(...parts.map(([part, link, amount]) => {
		link.dataset.part = part;
		if (part === showing) link.setAttribute('aria-current', 'page');
		if (amount) link.append(' ', el('span.amount', amount));
		return link;
	}));
	if (focused) nav.querySelector(`[data-part="${CSS.escape(focused)}"]`)?.focus();
}
