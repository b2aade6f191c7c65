// The list of repositories, with sums.
import { firstPush } from './commands.js';
import { command } from './copy.js';
import { state } from './data.js';
import { el, link } from './dom.js';
import { bytes, count, time } from './format.js';
import { empty, facts, faint, marked, matches, ranks, Search, verdict, words } from './parts.js';
import { to } from './routes.js';
import { Table } from './table.js';
import { name } from './text.js';

const FIRST = { by: 'name', desc: false };

export class Repositories {
  constructor(context, route) {
    this.context = context;
    context.title('Repositories');
    this.search = new Search({
      label: 'Search repositories',
      value: route.parameters.q,
      onInput: (query) => this.#go({ q: query.trim() }),
      onDown: () => this.table.focus(0),
      onEnter: () => this.table.rows.length && context.go(to.repository(this.table.rows[0].name)),
    });
    this.wanted = [];
    this.table = new Table({
      label: 'Repositories',
      kind: 'repositories',
      key: (row) => row.name,
      order: order(route),
      onOrder: ({ by, desc }) => this.#go({ sort: by, desc: desc ? '1' : '' }),
      columns: this.#columns(),
    });
    this.sums = el('div');
    this.nothing = el('div');
    context.main.append(
      el('header', { class: 'head' }, el('h1', { tabindex: -1 }, 'Repositories'), this.sums),
      el('div', { class: 'toolbar' }, this.search.node),
      this.table.node,
      this.nothing,
    );
    this.update(route);
  }

  #columns() {
    return [
      {
        id: 'name',
        label: 'Repository',
        value: (row) => row.name,
        cell: (row) => link(to.repository(row.name), { class: 'main' }, marked(row.name, this.wanted)),
      },
      { id: 'tags', label: 'Tags', number: true, desc: true, value: (row) => row.tags, cell: (row) => count(row.tags) },
      {
        id: 'untagged',
        label: 'Untagged',
        number: true,
        desc: true,
        help: 'Manifests without a tag of their own',
        value: (row) => row.untagged,
        cell: (row) => (row.untagged ? count(row.untagged) : faint('0')),
      },
      {
        id: 'own',
        label: 'Own size',
        number: true,
        desc: true,
        help: 'Data that only this repository has, of those that you see',
        value: (row) => row.own,
        cell: (row) => bytes(row.own),
      },
      {
        id: 'shared',
        label: 'Shared size',
        number: true,
        desc: true,
        help: 'Data that other repositories have as well',
        value: (row) => row.shared,
        cell: (row) => (row.shared ? bytes(row.shared) : faint('0')),
      },
      {
        id: 'pushed',
        label: 'Last push',
        desc: true,
        value: (row) => row.pushed,
        cell: (row) => [time(row.pushed), row.by && el('span', { class: 'by' }, ' by ', name(row.by, 40))],
      },
      { id: 'pulled', label: 'Last pull', desc: true, value: (row) => row.pulled, cell: (row) => time(row.pulled, 'never') },
      {
        id: 'worst',
        label: 'Worst scan',
        desc: true,
        help: 'The worst verdict among the tags',
        value: (row) => Math.max(0, ranks.indexOf(row.worst)),
        cell: (row) => verdict(row.worst),
      },
    ];
  }

  #go(parameters) {
    this.context.replace(to.repositories({ ...this.route.parameters, ...parameters }));
  }

  update(route) {
    const searched = this.route && route.parameters.q !== this.route.parameters.q;
    this.route = route;
    this.search.value = route.parameters.q ?? '';
    this.table.setOrder(order(route));
    this.#show({ changed: true });
    if (searched && scrollY > 0) window.scrollTo({ top: 0, behavior: 'instant' });
    this.context.ready();
  }

  data() {
    this.#show({ keep: true });
  }

  #show(options) {
    const all = state.rows;
    this.wanted = words(this.route.parameters.q ?? '');
    const rows = this.wanted.length ? all.filter((row) => matches(row.name, this.wanted)) : all;
    this.search.tell(rows.length, all.length, 'repository', 'repositories');
    this.table.setRows(rows, options);
    this.sums.replaceChildren(sums(rows, this.wanted.length > 0));
    this.search.node.hidden = all.length === 0;
    this.nothing.replaceChildren(...(rows.length ? [] : [all.length ? this.#notFound() : newcomer()]));
  }

  #notFound() {
    return empty(
      'No repository has this in its name',
      el('p', null, 'Only repositories that you may pull are listed. Words are searched for one by one, in any order.'),
      el('p', { class: 'actions' }, el('button', { type: 'button', class: 'plain', on: { click: () => this.#go({ q: '' }) } }, 'Show all repositories')),
    );
  }

  focusSearch() {
    this.search.input.focus();
    this.search.input.select();
  }

  destroy() {
    this.table.destroy();
  }
}

function order(route) {
  const { sort, desc } = route.parameters;
  return sort ? { by: sort, desc: desc === '1' } : FIRST;
}

function sums(rows, searched) {
  let tags = 0;
  let untagged = 0;
  let own = 0;
  let pushed = null;
  for (const row of rows) {
    tags += row.tags;
    untagged += row.untagged;
    own += row.own;
    if (row.pushed !== null && (pushed === null || row.pushed > pushed)) pushed = row.pushed;
  }
  const { storage } = state.index ?? {};
  return facts([
    [searched ? 'Found' : 'Repositories', count(rows.length)],
    ['Tags', count(tags)],
    ['Untagged', count(untagged)],
    ['Own size', el('span', { title: 'What several repositories share is not counted' }, bytes(own))],
    ['Last push', time(pushed, 'none')],
    !searched && storage && storage.size !== null && ['Storage', `${bytes(storage.size - (storage.free ?? 0))} of ${bytes(storage.size)} used`],
  ]);
}

function newcomer() {
  const commands = firstPush(state.registry);
  return empty(
    'No repositories yet',
    el('p', null, 'This registry is empty, or it holds nothing that your account may pull. Push the first image with three commands. The page shows it seconds later.'),
    el('ol', { class: 'steps' }, commands.map((line, at) =>
      el('li', null, el('p', null, ['Log in with your user name and password of this registry.', 'Give an image that you have a name in this registry.', 'Push it.'][at]), command(line, line)))),
    el('p', { class: 'faint' }, 'Replace IMAGE by an image of docker image ls, and team/app by a name that your account may push to. podman takes the same commands.'),
  );
}
