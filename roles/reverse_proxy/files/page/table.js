// A table of any length. Only rows near the window are in the document; each says which one it is of how many, and the focused one
// stays. It scrolls with the page, so that the keys of the browser work.
import { el, icon } from './dom.js';

const BEYOND = 4;
const MOST_PRINTED = 1000;

// A column: the value (or the field of this name) sorts, the cell is shown. more: desc (the first click sorts downwards), number, help.
export const column = (id, label, value, cell, more) => ({
	id,
	label,
	value: typeof value === 'string' ? (row) => row[value] : value,
	cell,
	...more,
});
export const numbers = (id, label, value, cell, help) => column(id, label, value, cell, { desc: true, number: true, help });

// Sorts by values that columns give; what has no value comes last in both directions. Numbers within text count as numbers.
export function sorted(rows, column, desc) {
	const value = column.value;
	const keyed = rows.map((row) => {
		const key = value(row);
		if (typeof key === 'string') return [key === '' ? null : key.replace(/\d+/g, (digits) => digits.padStart(12, '0')), row];
		return [key ?? null, row];
	});
	const direction = desc ? -1 : 1;
	keyed.sort(([one], [other]) => {
		if (one === other) return 0;
		if (one === null) return 1;
		if (other === null) return -1;
		return one < other ? -direction : direction;
	});
	return keyed.map(([, row]) => row);
}

export class Table {
	// The first column heads the row. key names a row for ever.
	constructor({ label, kind, columns, key, order, onOrder }) {
		Object.assign(this, { columns, key, order, onOrder });
		this.rows = [];
		this.indexes = new Map();
		this.shown = new Map();
		this.version = 0;
		this.current = '';
		this.height = 36;
		this.head = el('tr', { role: 'row', 'aria-rowindex': 1 }, columns.map((column) => this.#heading(column)));
		this.body = el('tbody', { role: 'rowgroup', on: { keydown: (event) => this.#keys(event) } });
		this.node = el('table', { class: `grid ${kind}`, role: 'table', 'aria-label': label }, el('thead', { role: 'rowgroup' }, this.head), this.body);
		this.#listen();
		this.#markOrder();
	}

	#heading(column) {
		const button = el('button', { type: 'button', title: column.help, on: { click: () => this.#reorder(column) } }, el('span', column.label), icon('up'));
		return el('th', { role: 'columnheader', scope: 'col', class: `c-${column.id}${column.number ? ' number' : ''}` }, button);
	}

	#listen() {
		let frame = 0;
		const later = () => {
			frame ||= requestAnimationFrame(() => {
				frame = 0;
				this.render();
			});
		};
		this.ending = new AbortController();
		const { signal } = this.ending;
		window.addEventListener('scroll', later, { passive: true, signal });
		window.addEventListener('beforeprint', () => this.#print(true), { signal });
		window.addEventListener('afterprint', () => this.#print(false), { signal });
		matchMedia('print').addEventListener('change', (event) => this.#print(event.matches), { signal });
		this.observer = new ResizeObserver(() => {
			this.#measure();
			later();
		});
		this.observer.observe(this.node);
	}

	destroy() {
		this.ending.abort();
		this.observer.disconnect();
	}

	#measure() {
		const height = Number.parseFloat(getComputedStyle(this.node).getPropertyValue('--row')) || 36;
		if (height !== this.height) {
			this.height = height;
			this.#place();
		}
	}

	#place() {
		this.body.style.height = `${this.rows.length * this.height}px`;
		for (const [key, row] of this.shown) {
			const index = this.indexes.get(key);
			if (index !== undefined) row.style.top = `${index * this.height}px`;
		}
	}

	#reorder(column) {
		const same = this.order.by === column.id;
		this.setOrder({ by: column.id, desc: same ? !this.order.desc : Boolean(column.desc) });
		this.onOrder?.(this.order);
	}

	setOrder(order) {
		if (order.by === this.order.by && order.desc === this.order.desc) return;
		this.order = order;
		this.#markOrder();
		this.setRows(this.rows);
	}

	#markOrder() {
		this.columns.forEach((column, at) => {
			const heading = this.head.children[at];
			const active = column.id === this.order.by;
			if (active) heading.setAttribute('aria-sort', this.order.desc ? 'descending' : 'ascending');
			else heading.removeAttribute('aria-sort');
			heading.classList.toggle('desc', active && this.order.desc);
		});
	}

	// keep: the reader stays at the row that was on top, wherever it is now.
	setRows(rows, { keep = false, changed = false } = {}) {
		const anchor = keep ? this.#anchor() : null;
		const column = this.columns.find(({ id }) => id === this.order.by);
		this.rows = column ? sorted(rows, column, this.order.desc) : rows;
		this.indexes = new Map(this.rows.map((row, index) => [this.key(row), index]));
		if (changed) this.version += 1;
		this.node.setAttribute('aria-rowcount', String(this.rows.length + 1));
		this.node.hidden = this.rows.length === 0;
		this.#measure();
		this.#place();
		if (anchor) {
			const now = this.indexes.get(anchor.key);
			if (now !== undefined && now !== anchor.index) window.scrollBy({ top: (now - anchor.index) * this.height, behavior: 'instant' });
		}
		this.render();
	}

	// The first row in the window, where the table begins above it.
	#anchor() {
		const top = this.body.getBoundingClientRect().top - this.head.offsetHeight;
		const index = Math.ceil(-top / this.height);
		return top < 0 && index < this.rows.length ? { index, key: this.key(this.rows[index]) } : null;
	}

	#wanted() {
		if (this.printing) return Array.from({ length: Math.min(this.rows.length, MOST_PRINTED) }, (_, index) => index);
		const top = this.body.getBoundingClientRect().top;
		const from = Math.max(0, Math.floor(-top / this.height) - BEYOND);
		const to = Math.min(this.rows.length, Math.ceil((innerHeight - top) / this.height) + BEYOND);
		const wanted = [];
		const focused = this.indexes.get(this.#focusedKey());
		if (focused < from) wanted.push(focused);
		for (let index = from; index < to; index += 1) wanted.push(index);
		if (focused >= to) wanted.push(focused);
		return wanted;
	}

	#focusedKey() {
		const row = document.activeElement?.closest('tr');
		return row && this.body.contains(row) ? row.dataset.key : undefined;
	}

	render() {
		if (!this.node.isConnected && this.shown.size) return;
		const active = this.body.contains(document.activeElement) ? document.activeElement : null;
		const row = active?.closest('tr');
		const place = row && { key: row.dataset.key, at: [...row.querySelectorAll('a, button')].indexOf(active) };
		this.#draw(this.#wanted());
		if (place && document.activeElement !== active) {
			const now = this.shown.get(place.key);
			(now?.querySelectorAll('a, button')[place.at] ?? now?.querySelector('a'))?.focus({ preventScroll: true });
		}
	}

	#draw(wanted) {
		const keys = new Set(wanted.map((index) => this.key(this.rows[index])));
		for (const [key, row] of this.shown) {
			if (!keys.has(key)) {
				row.remove();
				this.shown.delete(key);
			}
		}
		let next = this.body.firstElementChild;
		for (const index of wanted) {
			const node = this.#row(index);
			if (node === next) next = next.nextElementSibling;
			else this.body.insertBefore(node, next);
		}
	}

	#row(index) {
		const data = this.rows[index];
		const key = this.key(data);
		let row = this.shown.get(key);
		if (!row) {
			row = el('tr', { role: 'row' });
			row.dataset.key = key;
			this.shown.set(key, row);
		}
		if (row.data !== data || row.version !== this.version) {
			row.data = data;
			row.version = this.version;
			row.replaceChildren(...this.columns.map((column, at) => this.#cell(column, data, at === 0)));
		}
		if (row.index !== index) {
			row.index = index;
			row.setAttribute('aria-rowindex', String(index + 2));
		}
		row.style.top = `${index * this.height}px`;
		this.#markCurrent(row, key);
		return row;
	}

	#cell(column, data, heads) {
		const properties = { class: `c-${column.id}${column.number ? ' number' : ''}`, role: heads ? 'rowheader' : 'cell' };
		return el(heads ? 'th' : 'td', heads ? { ...properties, scope: 'row' } : properties, column.cell(data));
	}

	#markCurrent(row, key) {
		if (key === this.current) row.setAttribute('aria-current', 'true');
		else row.removeAttribute('aria-current');
	}

	setCurrent(key) {
		this.current = key;
		for (const [one, row] of this.shown) this.#markCurrent(row, one);
	}

	focus(index) {
		if (!this.rows.length) return;
		const at = Math.max(0, Math.min(index, this.rows.length - 1));
		const key = this.key(this.rows[at]);
		const top = this.body.getBoundingClientRect().top + at * this.height;
		const above = document.querySelector('.bar').offsetHeight + this.head.offsetHeight;
		if (top < above) window.scrollBy({ top: top - above, behavior: 'instant' });
		else if (top + this.height > innerHeight) window.scrollBy({ top: top + this.height - innerHeight + 8, behavior: 'instant' });
		this.render();
		if (!this.shown.has(key)) this.#draw([...new Set([...this.#wanted(), at])].sort((one, other) => one - other));
		this.shown.get(key).querySelector('a')?.focus({ preventScroll: true });
	}

	focusKey(key) {
		if (this.indexes.has(key)) this.focus(this.indexes.get(key));
	}

	#keys(event) {
		const index = this.indexes.get(this.#focusedKey());
		if (index === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
		const page = Math.max(1, Math.floor((innerHeight - 160) / this.height));
		const moves = { ArrowDown: index + 1, ArrowUp: index - 1, PageDown: index + page, PageUp: index - page, Home: 0, End: this.rows.length - 1 };
		if (!Object.hasOwn(moves, event.key)) return;
		event.preventDefault();
		this.focus(moves[event.key]);
	}

	#print(on) {
		this.printing = on;
		this.node.dataset.more = this.rows.length > MOST_PRINTED ? `The first ${MOST_PRINTED} of ${this.rows.length} rows. Search to print others.` : '';
		this.render();
	}
}
