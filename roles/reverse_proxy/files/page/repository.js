// One repository: its tags, what has no tag, and what retention will do.
import { reference } from './commands.js';
import { copyButton, digestShort } from './copy.js';
import { knownRepository, loadRepository, state } from './data.js';
import { announce, el, link, spoken } from './dom.js';
import { bytes, count, time } from './format.js';
import { badge, callout, empty, facts, faint, findings, loading, marked, matches, problem, Search, words } from './parts.js';
import { to } from './routes.js';
import { isDigest } from './shape.js';
import { Table } from './table.js';
import { goneTag, signers, tagPanel } from './tagpanel.js';
import { long, name } from './text.js';

// What retention decides changes without a push, too.
const AGAIN = 60_000;
const RANK = { critical: 1e9, high: 1e6, medium: 1e3, low: 1, negligible: 1e-3, unknown: 1e-3 };

const tagLink = (view, tag) => link(to.repository(view.name, tag.name, view.kept()), { class: 'main' }, marked(tag.name, view.wanted));

const age = (tag) => [time(tag.pushed ?? tag.created), tag.by && el('span', { class: 'by' }, ' by ', name(tag.by, 40))];

function platforms(image) {
  if (!image.platforms.length) return faint('–');
  const rest = image.platforms.length - 2;
  return [name(image.platforms.slice(0, 2).join(', '), 60), rest > 0 && faint(` +${rest}`)];
}

function signedBy(image) {
  const by = signers(image);
  if (!by) return [faint('–'), spoken('not signed')];
  const known = by.filter(Boolean);
  if (!known.length) return badge('warn', 'unknown key');
  return [badge('good', known[0]), by.length > 1 && faint(` +${by.length - 1}`)];
}

function score(scan) {
  return scan ? scan.counts.reduce((sum, [severity, number]) => sum + number * (RANK[severity] ?? 0), 0) : null;
}

function decided(decision) {
  if (!decision) return faint('–');
  return decision.kept ? el('span', { class: 'faint' }, 'stays') : badge('warn', 'goes');
}

const SHOWS = {
  tags: {
    one: 'tag',
    label: 'Search tags',
    order: { by: 'age', desc: true },
    key: (tag) => tag.name,
    text: (tag) => `${tag.name} ${tag.digest} ${tag.by}`.toLowerCase(),
    rows: (view) => view.repository.tags,
    columns: (view) => [
      { id: 'name', label: 'Tag', value: (tag) => tag.name, cell: (tag) => tagLink(view, tag) },
      { id: 'digest', label: 'Digest', value: (tag) => tag.digest, cell: (tag) => digestShort(tag.digest) },
      { id: 'age', label: 'Pushed', desc: true, value: (tag) => tag.pushed ?? tag.created, cell: age },
      { id: 'size', label: 'Size', number: true, desc: true, value: (tag) => tag.size, cell: (tag) => bytes(tag.size) },
      { id: 'platforms', label: 'Platforms', value: (tag) => view.repository.image(tag.digest).platforms.join(','), cell: (tag) => platforms(view.repository.image(tag.digest)) },
      { id: 'signed', label: 'Signed by', value: (tag) => (signers(view.repository.image(tag.digest)) ?? [])[0], cell: (tag) => signedBy(view.repository.image(tag.digest)) },
      { id: 'scan', label: 'Scan', desc: true, value: (tag) => score(view.repository.image(tag.digest).scan), cell: (tag) => (view.repository.image(tag.digest).scan ? findings(view.repository.image(tag.digest).scan.counts) : faint('not scanned')) },
      { id: 'sbom', label: 'SBOM', desc: true, value: (tag) => view.repository.image(tag.digest).sboms.length, cell: (tag) => (view.repository.image(tag.digest).sboms.length ? 'yes' : [faint('–'), spoken('none')]) },
      { id: 'pulled', label: 'Last pull', desc: true, value: (tag) => tag.pulled, cell: (tag) => time(tag.pulled, 'never') },
      { id: 'tonight', label: 'Tonight', help: 'What the next retention would do', value: (tag) => decisionRank(view.repository.decision(tag.name)), cell: (tag) => decided(view.repository.decision(tag.name)) },
    ],
    nothing: (view) => empty(
      'No tags',
      el('p', null, 'What is left here has no tag. The next garbage collection removes what nothing needs.'),
    ),
  },
  untagged: {
    one: 'manifest',
    label: 'Search untagged manifests',
    order: { by: 'pushed', desc: true },
    key: (one) => one.digest,
    text: (one) => `${one.digest} ${one.kind} ${one.reason}`.toLowerCase(),
    rows: (view) => view.repository.untagged,
    columns: (view) => [
      { id: 'digest', label: 'Digest', value: (one) => one.digest, cell: (one) => (isDigest(one.digest) ? link(to.image(view.name, one.digest), { class: 'main' }, el('code', null, one.digest.slice(7, 19))) : name(one.digest, 40)) },
      { id: 'kind', label: 'Kind', value: (one) => one.kind, cell: (one) => name(one.kind, 60) },
      { id: 'reason', label: 'Why it is here', value: (one) => one.reason, cell: (one) => name(one.reason, 160) },
      { id: 'size', label: 'Size', number: true, desc: true, value: (one) => one.size, cell: (one) => bytes(one.size) },
      { id: 'pushed', label: 'Pushed', desc: true, value: (one) => one.pushed, cell: (one) => time(one.pushed) },
    ],
    nothing: () => empty('Nothing is untagged', el('p', null, 'Each manifest of this repository has a tag. Platforms of an index, signatures and what the next garbage collection removes would be listed here.')),
  },
  retention: {
    one: 'tag',
    label: 'Search tags',
    order: { by: 'tonight', desc: false },
    key: (tag) => tag.name,
    text: (tag) => `${tag.name} ${tag.reason}`.toLowerCase(),
    rows: (view) => view.repository.tags.map((tag) => ({ ...tag, ...decisionOf(view, tag) })),
    columns: (view) => [
      { id: 'name', label: 'Tag', value: (tag) => tag.name, cell: (tag) => tagLink(view, tag) },
      { id: 'tonight', label: 'Tonight', value: (tag) => `${tag.rank}`, cell: (tag) => decided(tag.decision) },
      { id: 'reason', label: 'Why', value: (tag) => tag.reason, cell: (tag) => (tag.reason ? name(tag.reason, 200) : faint('No rule names it: it stays.')) },
      { id: 'size', label: 'Size', number: true, desc: true, value: (tag) => tag.size, cell: (tag) => bytes(tag.size) },
      { id: 'age', label: 'Pushed', desc: true, value: (tag) => tag.pushed ?? tag.created, cell: age },
    ],
    nothing: () => empty('No tags', el('p', null, 'There is nothing that retention could remove.')),
  },
};

const decisionRank = (decision) => (decision ? (decision.kept ? 2 : 1) : 3);

function decisionOf(view, tag) {
  const decision = view.repository.decision(tag.name);
  return { decision, reason: decision?.reason ?? '', rank: decisionRank(decision) };
}

export class Repository {
  constructor(context, route) {
    this.context = context;
    this.name = route.repository;
    this.route = route;
    this.repository = null;
    this.row = state.byName.get(this.name);
    this.loaded = 0;
    this.wanted = [];
    context.title(this.name);
    this.facts = el('div');
    this.problems = el('div');
    this.tabs = el('nav', { class: 'tabs', 'aria-label': 'Parts of this repository' });
    this.content = el('div', null, loading());
    const image = reference(state.registry, this.name, 'latest').replace(/:latest$/, '');
    context.main.append(
      el('header', { class: 'head' },
        el('nav', { class: 'crumbs', 'aria-label': 'Where you are' }, link(to.repositories(), null, 'Repositories'), ' / '),
        el('h1', { tabindex: -1 }, name(this.name)), image && copyButton(image, `the name ${image}`),
        this.facts),
      this.problems, this.tabs, this.content);
    const known = knownRepository(this.name);
    if (known) this.#arrived(known);
    this.#load();
  }

  // What a link to another tag keeps of the address.
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
      if (!this.repository || error.status === 404 || error.status === 403) {
        this.table?.destroy();
        this.table = null;
        this.repository = null;
        this.tabs.replaceChildren();
        this.facts.replaceChildren();
        this.content.replaceChildren(problem(error, () => this.#load()));
      }
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
    if (row !== this.row || this.failed || Date.now() - this.loaded > AGAIN) {
      this.row = row;
      this.#load();
    }
  }

  #head() {
    const { repository, row } = this;
    const { tags } = repository;
    this.facts.replaceChildren(facts([
      ['Tags', count(tags.length)],
      ['Untagged', count(repository.untagged.length)],
      row && ['Own size', bytes(row.own)],
      row && ['Shared size', bytes(row.shared)],
      ['Last push', time(row?.pushed ?? null, 'not known'), row?.by && el('span', { class: 'by' }, ' by ', name(row.by, 60))],
      row && ['Last pull', time(row.pulled, 'none known')],
    ]));
    this.problems.replaceChildren(...(repository.problems.length
      ? [callout('warn', 'Something is wrong in this repository', el('ul', null, repository.problems.slice(0, 20).map((one) => el('li', null, long(one)))), el('p', null, 'Push the image again. The playbook maintain.yml tells more.'))]
      : []));
    const goes = tags.filter((tag) => repository.decision(tag.name)?.kept === false).length;
    const tab = (show, ...content) => link(to.repository(this.name, '', { show: show === 'tags' ? '' : show }), { 'aria-current': this.showing === show ? 'page' : null, 'data-show': show }, content);
    const focused = this.tabs.contains(document.activeElement) ? document.activeElement.dataset.show : '';
    this.tabs.replaceChildren(
      tab('tags', 'Tags ', el('span', { class: 'amount' }, count(tags.length))),
      tab('untagged', 'Untagged ', el('span', { class: 'amount' }, count(repository.untagged.length))),
      tab('retention', 'Retention ', repository.retention.configured && el('span', { class: 'amount' }, goes ? `${count(goes)} to go` : 'nothing goes')));
    if (focused) this.tabs.querySelector(`[data-show="${CSS.escape(focused)}"]`)?.focus();
  }

  update(route) {
    const before = this.route;
    this.route = route;
    if (!this.repository) return;
    const showing = Object.hasOwn(SHOWS, route.parameters.show ?? '') ? route.parameters.show : 'tags';
    if (showing !== this.showing || !this.table) this.#build(showing);
    this.search.value = route.parameters.q ?? '';
    this.table.setOrder(this.#order());
    this.#show({ changed: true });
    if (before.tag !== route.tag || (route.tag && !this.panel)) this.#panel(before.tag !== route.tag);
    if ((before.parameters.q ?? '') !== (route.parameters.q ?? '')) this.#toTop();
    if (this.afterClose && !route.tag) {
      this.table.focusKey(this.afterClose);
      this.afterClose = '';
    }
    this.context.title(route.tag ? `${this.name}:${route.tag}` : this.name);
    this.context.ready();
  }

  #toTop() {
    const top = this.tabs.getBoundingClientRect().top + scrollY - 80;
    if (scrollY > top) window.scrollTo({ top, behavior: 'instant' });
  }

  #order() {
    const { sort, desc } = this.route.parameters;
    return sort ? { by: sort, desc: desc === '1' } : SHOWS[this.showing].order;
  }

  #build(showing) {
    this.table?.destroy();
    this.showing = showing;
    this.panel = null;
    this.#head();
    const shows = SHOWS[showing];
    this.search = new Search({
      label: shows.label,
      value: this.route.parameters.q,
      onInput: (query) => this.#replace({ q: query.trim() }),
      onDown: () => this.table.focus(0),
    });
    this.table = new Table({
      label: showing === 'untagged' ? 'Manifests without a tag' : showing === 'retention' ? 'What retention would do' : 'Tags',
      kind: showing,
      key: shows.key,
      order: this.#order(),
      onOrder: ({ by, desc }) => this.#replace({ sort: by, desc: desc ? '1' : '' }),
      columns: shows.columns(this),
    });
    this.nothing = el('div');
    this.side = el('div', { class: 'side' });
    this.split = el('div', { class: 'split' }, el('div', { class: 'list' }, this.table.node, this.nothing), this.side);
    this.content.replaceChildren(
      ...(showing === 'retention' ? [this.#retention()] : []),
      el('div', { class: 'toolbar' }, this.search.node),
      this.split);
  }

  #retention() {
    const { retention, tags } = this.repository;
    if (!retention.configured) {
      return callout('quiet', 'No retention rules are set: every tag stays', el('p', null, 'Rules in maintenance_retention remove tags that nobody needs. Nothing is removed before maintain.yml was run with them.'));
    }
    const goes = tags.filter((tag) => this.repository.decision(tag.name)?.kept === false);
    return callout(goes.length ? 'warn' : 'good', goes.length ? `${count(goes.length)} of ${count(tags.length)} tags would go` : 'Every tag stays',
      el('p', null, retention.next ? ['The next run is ', time(retention.next), '. '] : 'No run is scheduled: it happens when maintain.yml is run. ', 'Space is free after the next garbage collection.'));
  }

  #replace(parameters) {
    this.context.replace(to.repository(this.name, this.route.tag, { ...this.kept(), ...parameters }));
  }

  #show(options) {
    const shows = SHOWS[this.showing];
    const all = shows.rows(this);
    this.wanted = words(this.route.parameters.q ?? '');
    const rows = this.wanted.length ? all.filter((row) => matches(shows.text(row), this.wanted)) : all;
    this.search.tell(rows.length, all.length, shows.one);
    this.search.node.hidden = all.length === 0;
    this.table.setRows(rows, options);
    this.nothing.replaceChildren(...(rows.length ? [] : [all.length ? empty('Nothing matches', el('p', null, 'The search looks at names, digests and who pushed.')) : shows.nothing(this)]));
    if (options.keep && this.panel) this.#refreshPanel();
  }

  // The panel is made anew only where its own tag has changed, so that a selection or the focus in it stays.
  #refreshPanel() {
    const now = this.#tag();
    if (this.panelTag?.digest !== now?.digest) this.#panel(false);
  }

  #tag() {
    return this.repository.tags.find((tag) => tag.name === this.route.tag);
  }

  #panel(moved) {
    const { tag } = this.route;
    this.table.setCurrent(tag);
    this.split.classList.toggle('open', Boolean(tag));
    this.panelTag = tag ? this.#tag() : null;
    this.panel = null;
    if (tag) {
      const close = () => this.close();
      this.panel = this.panelTag
        ? tagPanel({ repository: this.repository, tag: this.panelTag, close, removed: (gone) => this.#removed(gone) })
        : goneTag(tag, close);
    }
    this.side.replaceChildren(...(this.panel ? [this.panel] : []));
    if (this.panel && moved) {
      this.panel.querySelector('h2').focus({ preventScroll: true });
      const { top } = this.panel.getBoundingClientRect();
      if (top < 0 || top > innerHeight - 120) this.panel.scrollIntoView({ block: 'start' });
      announce(`Tag ${tag}`);
    }
  }

  #removed(tag) {
    const index = this.table.indexes.get(tag.name) ?? 0;
    this.#head();
    this.context.replace(to.repository(this.name, '', this.kept()));
    this.#show({ keep: true });
    this.table.focus(index);
  }

  // Escape: closes the panel, and goes back to the row that it belongs to.
  close() {
    const { tag } = this.route;
    if (!tag) return false;
    this.afterClose = tag;
    this.context.go(to.repository(this.name, '', this.kept()));
    return true;
  }

  focusSearch() {
    this.search?.input.focus();
    this.search?.input.select();
  }

  destroy() {
    this.gone = true;
    this.table?.destroy();
  }
}
