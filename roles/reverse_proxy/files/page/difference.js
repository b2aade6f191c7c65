// The difference between the image that is shown and a tag.
import { digestShort } from './copy.js';
import { el } from './dom.js';
import { bytes, counted } from './format.js';
import { compareConfigurations, compareLayers, isIndex, layers, steps, total } from './manifest.js';
import { badge, facts, faint, loading, note, plainTable, problem, section } from './parts.js';
import { long, name } from './text.js';

const SUGGESTED = 50;

export class Difference {
	constructor(options) {
		Object.assign(this, options);
		this.result = el('div', { 'aria-live': 'polite' });
		this.input = el('input', { id: 'compare', list: 'compare-tags', autocomplete: 'off', spellcheck: 'false', maxlength: 128, placeholder: 'a tag of this repository' });
		this.suggestions = el('datalist', { id: 'compare-tags' });
		this.input.addEventListener('input', () => this.#suggest());
		const form = el('form.compare', el('label', { for: 'compare' }, 'Compare with the tag'), this.input, this.suggestions, el('button.plain', 'Compare'));
		form.addEventListener('submit', (event) => {
			event.preventDefault();
			const tag = this.input.value.trim();
			if (tag) this.choose(tag);
		});
		this.node = section('Difference', form, this.result);
		this.#suggest();
	}

	// A list of 20,000 would be slow and of no use.
	#suggest() {
		const typed = this.input.value.trim();
		const found = [];
		for (const tag of this.tags()) {
			if (found.length === SUGGESTED) break;
			if (tag.digest !== this.digest && tag.name.includes(typed)) found.push(el('option', { value: tag.name }));
		}
		this.suggestions.replaceChildren(...found);
	}

	async show(tag) {
		this.input.value = tag;
		this.wanted = tag;
		if (!tag) {
			this.result.replaceChildren(note('Choose another tag to see which layers are the same, what a host would download, and what has changed in the configuration.'));
			return;
		}
		this.result.replaceChildren(loading());
		const content = await this.#compare(tag).catch((error) => problem(error, () => this.show(tag)));
		if (this.wanted === tag) this.result.replaceChildren(...[content].flat().filter(Boolean));
	}

	async #compare(tag) {
		const found = this.tags().find((one) => one.name === tag);
		if (!found) return el('p', 'There is no tag ', name(tag, 128), ' in this repository.');
		let other = await this.read(this.repository, found.digest);
		if (isIndex(other.manifest)) {
			const child = this.usualChild(other.manifest, this.platform);
			if (!child) return el('p', 'That tag has no image for a platform.');
			other = await this.read(this.repository, child.digest);
		}
		if (isIndex(this.shown.manifest)) return el('p', 'This index has no image for a platform to compare.');
		return this.#result(tag, other);
	}

	#result(tag, other) {
		const compared = compareLayers(layers(other.manifest), layers(this.shown.manifest));
		const commands = new Map([...steps(other.manifest, other.document ?? {}), ...steps(this.shown.manifest, this.shown.document ?? {})]
			.filter((step) => step.layer).map((step) => [step.layer.digest, step.command]));
		const rows = [['removed', compared.removed], ['added', compared.added], ['same', compared.same]].flatMap(([what, found]) => found.map((layer) => [what, layer]));
		const kinds = { removed: 'warn', added: 'good', same: 'quiet' };
		return [
			facts([
				['Same', counted(compared.same.length, 'layer'), faint(` ${bytes(total(compared.same))}`)],
				['Added', counted(compared.added.length, 'layer'), faint(` ${bytes(total(compared.added))}`)],
				['Removed', counted(compared.removed.length, 'layer'), faint(` ${bytes(total(compared.removed))}`)],
			]),
			el('p', 'A host that has ', el('strong', name(tag, 128)), ` downloads ${bytes(total(compared.added))} to get `, el('strong', name(this.label, 128)), '.'),
			plainTable('Layers of both', ['Layer', 'Command', { label: 'Size', number: true }, 'Digest'], rows.map(([what, layer]) => [
				badge(kinds[what], what),
				el('code.command-text', long(commands.get(layer.digest) || 'not told')),
				bytes(layer.size),
				digestShort(layer.digest),
			])),
			this.#configuration(tag, other),
		].flat();
	}

	#configuration(tag, other) {
		if (!other.config || !this.shown.config) return note('One of them is no image: configurations cannot be compared.');
		const rows = compareConfigurations(other.config, this.shown.config);
		if (!rows.length) return el('p', 'The configurations are the same.');
		const side = (value, hidden) => (value === null ? faint('none') : hidden ? faint('set') : long(value));
		return [el('h3', 'Configuration'), plainTable('Changes of the configuration', ['What', `In ${tag}`, `In ${this.label}`], rows.map((row) => [
			name(row.what, 160), side(row.before, row.hidden), side(row.after, row.hidden), ]))];
	}
}
