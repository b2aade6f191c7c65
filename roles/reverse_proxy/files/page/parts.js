// What several views share: badges, facts, search fields, empty states, errors.
import { add, announce, el, icon } from './dom.js';
import { count } from './format.js';
import { long, name, plain } from './text.js';

// kind: good, warn, bad, quiet. Says it by a word and a shape as well as by a colour.
const SHAPES = { good: 'done', warn: 'warn', bad: 'bad', quiet: 'none' };

export function badge(kind, words, title) {
  return el('span', { class: `badge ${kind}`, title: title ? plain(title, 400) : null }, icon(SHAPES[kind]), typeof words === 'string' ? name(words, 40) : words);
}

export const faint = (words) => el('span', { class: 'faint' }, words);

// The worst verdict among the tags of a repository.
const VERDICTS = {
  passed: ['good', 'Passed'],
  refused: ['bad', 'Refused'],
  critical: ['bad', 'Critical'],
  high: ['warn', 'High'],
  medium: ['quiet', 'Medium'],
  low: ['quiet', 'Low'],
  unknown: ['quiet', 'Unknown'],
};
export const ranks = ['', 'passed', 'negligible', 'low', 'medium', 'unknown', 'high', 'critical', 'refused'];

export function verdict(value) {
  if (!value) return faint('not scanned');
  const [kind, words] = Object.hasOwn(VERDICTS, value) ? VERDICTS[value] : ['quiet', value];
  return badge(kind, words);
}

export const severityKind = (severity) => ({ critical: 'bad', high: 'warn' })[severity] ?? 'quiet';

// What a scan has found, the worst first.
export function findings(counts, most = 2) {
  const found = counts.filter(([, number]) => number > 0);
  if (!found.length) return badge('good', 'none');
  const shown = found.slice(0, most).map(([severity, number]) => `${count(number)} ${severity}`).join(', ');
  const all = found.map(([severity, number]) => `${count(number)} ${severity}`).join(', ');
  return badge(severityKind(found[0][0]), shown, all);
}

export function facts(pairs, kind = 'facts') {
  return el('dl', { class: kind }, pairs.filter(Boolean).map(([term, ...values]) => el('div', null, el('dt', null, term), el('dd', null, values))));
}

export function callout(kind, title, ...rest) {
  return el('div', { class: `callout ${kind}` }, icon(SHAPES[kind] ?? 'warn'), el('div', null, title && el('strong', null, title), rest));
}

export function problem(error, again) {
  const words = el('p', null, error.cure ?? 'Reload the page.');
  const said = error.detail ? el('p', { class: 'faint' }, 'The registry says: ', long(error.detail)) : null;
  const buttons = el('p', { class: 'actions' });
  if (again) buttons.append(el('button', { type: 'button', class: 'plain', on: { click: again } }, 'Try again'));
  const node = callout(error.status === 404 ? 'quiet' : 'bad', error.title ?? 'The page failed', words, said, again ? buttons : null);
  node.setAttribute('role', 'alert');
  return node;
}

export function empty(title, ...rest) {
  return el('div', { class: 'empty' }, el('h2', null, title), rest);
}

export const loading = () => el('p', { class: 'loading', role: 'status' }, 'Loading …');

export function section(title, ...rest) {
  const id = `s-${title.toLowerCase().replace(/[^a-z]+/g, '-')}`;
  return el('section', { 'aria-labelledby': id, class: 'card' }, el('h2', { id }, title), rest);
}

// A search field. `/` focuses it, Escape empties it, Enter and the arrow down lead to the first result.
export class Search {
  constructor({ label, value, onInput, onDown, onEnter }) {
    this.input = el('input', { type: 'search', 'aria-label': label, placeholder: label, autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', maxlength: 200 });
    this.input.value = value ?? '';
    this.result = el('span', { class: 'result' });
    this.node = el('div', { class: 'search', role: 'search' }, icon('search'), this.input, el('kbd', { 'aria-hidden': 'true' }, '/'), this.result);
    this.input.addEventListener('input', () => onInput(this.input.value));
    this.input.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.input.value) {
        event.stopPropagation();
        event.preventDefault();
        this.input.value = '';
        onInput('');
      } else if (event.key === 'ArrowDown' || event.key === 'Enter') {
        event.preventDefault();
        (event.key === 'Enter' && this.input.value ? onEnter ?? onDown : onDown)?.();
      }
    });
  }

  set value(value) {
    if (this.input.value !== value) this.input.value = value;
  }

  tell(shown, all, one, many = `${one}s`) {
    const words = shown === all ? `${count(all)} ${all === 1 ? one : many}` : `${count(shown)} of ${count(all)} ${many}`;
    if (this.result.textContent !== words) {
      this.result.textContent = words;
      announce(words);
    }
  }
}

export const words = (query) => query.toLowerCase().split(/\s+/).filter(Boolean);
export const matches = (text, wanted) => wanted.every((word) => text.includes(word));

// A name in which what was searched for is marked.
export function marked(text, wanted) {
  if (!wanted.length || text.length > 240) return name(text);
  const lower = text.toLowerCase();
  const hits = new Uint8Array(text.length);
  for (const word of wanted) {
    for (let at = lower.indexOf(word); at >= 0; at = lower.indexOf(word, at + word.length)) hits.fill(1, at, at + word.length);
  }
  const node = el('bdi', { title: text.length > 20 ? plain(text) : null });
  for (let from = 0; from < text.length; ) {
    let to = from;
    while (to < text.length && hits[to] === hits[from]) to += 1;
    const piece = plain(text.slice(from, to));
    add(node, [hits[from] ? el('mark', null, piece) : piece]);
    from = to;
  }
  return node;
}

// A small table whose cells may have several lines.
export function plainTable(label, headings, rows, most = 500) {
  const body = rows.slice(0, most).map((cells) =>
    el('tr', null, cells.map((cell, at) => {
      const title = headings[at]?.label ?? headings[at];
      const properties = { class: headings[at]?.number ? 'number' : null, 'data-label': title };
      return at === 0 ? el('th', { ...properties, scope: 'row' }, cell) : el('td', properties, cell);
    })),
  );
  return el(
    'div',
    { class: 'plain-table', tabindex: 0, role: 'region', 'aria-label': label },
    el('table', null, el('caption', { class: 'spoken' }, label), el('thead', null, el('tr', null, headings.map((heading) => el('th', { scope: 'col', class: heading.number ? 'number' : null }, heading.label ?? heading)))), el('tbody', null, body)),
    rows.length > most && el('p', { class: 'faint' }, `The first ${count(most)} of ${count(rows.length)}.`),
  );
}
