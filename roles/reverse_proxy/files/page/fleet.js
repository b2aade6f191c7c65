// The hosts: what they run and trust, their last proof, certificates, backups, mirrors, storage, and the last reports.
import { loadFleet, state } from './data.js';
import { el, link } from './dom.js';
import { bytes, count, counted, span, time } from './format.js';
import { hostPanel, outcome, proof, toFleet } from './hosts.js';
import { badge, callout, empty, facts, faint, findings, loading, marked, matches, plainTable, problem, Search, words } from './parts.js';
import { reportSection } from './reports.js';
import { to } from './routes.js';
import { isDigest, isName } from './shape.js';
import { Table } from './table.js';
import { long, name } from './text.js';

const AGAIN = 30_000;
const SOON = 21;
const STALE = 2 * 86400;

const hostLink = (view, host) => link(to.fleet('hosts', { host, q: view.route.parameters.q }), { class: 'main' }, marked(host, view.wanted));

// Where a container's image is in this registry. Others are shown, and lead nowhere.
function imageLink(run) {
  const [repository] = run.image.split(/[:@]/);
  const known = isName(repository) && state.byName.has(repository) && isDigest(run.digest);
  return known ? link(to.image(repository, run.digest), null, name(run.image, 160)) : name(run.image, 160);
}

export const days = (left) => {
  if (left === null) return faint('not known');
  if (left < 0) return badge('bad', `ended ${count(-left)} d ago`);
  return left < SOON ? badge('warn', `${count(left)} d left`) : badge('good', `${count(left)} d left`);
};

const VIRTUAL = {
  hosts: {
    label: 'Hosts',
    search: 'Search hosts',
    one: 'host',
    order: { by: 'proof', desc: false },
    key: (host) => host.name,
    rows: (fleet) => fleet.hosts,
    text: (host) => `${host.name} ${host.engine} ${host.trust}`.toLowerCase(),
    columns: (view) => [
      { id: 'host', label: 'Host', value: (host) => host.name, cell: (host) => hostLink(view, host.name) },
      { id: 'engine', label: 'Engine', value: (host) => host.engine, cell: (host) => (host.engine ? name(host.engine, 60) : faint('none')) },
      { id: 'trust', label: 'Trusts', value: (host) => host.trust, cell: (host) => (host.trust ? name(host.trust, 120) : faint('–')) },
      { id: 'proof', label: 'Last proof', value: (host) => proof(host).rank, cell: (host) => badge(proof(host).kind, proof(host).words, proof(host).more) },
      { id: 'when', label: 'When', desc: true, value: (host) => proof(host).at, cell: (host) => time(proof(host).at, 'never') },
      { id: 'runs', label: 'Runs', number: true, desc: true, value: (host) => host.runs.length, cell: (host) => counted(host.runs.length, 'container') },
      { id: 'findings', label: 'Findings', desc: true, value: (host) => host.score, cell: (host) => (host.findings ? findings(host.findings) : faint('not judged')) },
    ],
    nothing: () => empty('No host has told anything yet', el('p', null, 'Run rollout.yml or doctor.yml. What they find is kept on the registry host and shown here.')),
  },
  running: {
    label: 'Running containers',
    search: 'Search hosts, containers, images, digests',
    one: 'container',
    order: { by: 'image', desc: false },
    key: (run) => run.key,
    rows: (fleet) => fleet.runs,
    text: (run) => `${run.host} ${run.container} ${run.image} ${run.digest}`.toLowerCase(),
    columns: (view) => [
      { id: 'container', label: 'Container', value: (run) => run.container, cell: (run) => marked(run.container, view.wanted) },
      { id: 'host', label: 'Host', value: (run) => run.host, cell: (run) => hostLink(view, run.host) },
      { id: 'image', label: 'Image', value: (run) => run.image, cell: imageLink },
      { id: 'since', label: 'Since', desc: true, value: (run) => run.since, cell: (run) => time(run.since) },
      { id: 'moved', label: 'Tag', desc: true, help: 'Whether the tag has moved to another image since', value: (run) => Number(run.moved), cell: (run) => (run.moved ? badge('warn', 'has moved', 'The tag points to another image by now') : faint('unchanged')) },
    ],
    nothing: () => empty('Nothing is known to run', el('p', null, 'exposure.yml asks the engines of all hosts, and tells it here.')),
  },
};

function certificates(fleet) {
  if (!fleet.certificates.length) return empty('No certificate is known', el('p', null, 'doctor.yml looks at the certificates of the registry hosts.'));
  return plainTable('Certificates', ['Name', 'Host', 'Subject', 'Ends', 'Left'], fleet.certificates.map((one) => [name(one.name, 120), name(one.host, 120), long(one.subject), time(one.end, '–', 'short'), days(one.days)]));
}

function backups(fleet) {
  if (!fleet.backups.length) return empty('No backup is known', el('p', null, 'Set backup_repository and run backup.yml: without a backup, a lost disk loses all images.'));
  return plainTable('Backups', ['Host', 'Last backup', 'Last proven restore', 'Outcome', 'What it said', 'Repository'], fleet.backups.map((one) => [
    name(one.host, 120), time(one.last, 'never'), one.proven === null ? badge('warn', 'never proven') : time(one.proven), outcome(one.outcome), long(one.said), long(one.repository)]));
}

function mirrors(fleet) {
  if (!fleet.mirrors.length) return empty('No mirror is known', el('p', null, 'mirror.yml copies repositories of other registries into this one.'));
  return plainTable('Mirrors', ['Mirror', 'Host', 'Last copy', 'Behind', 'Problem'], fleet.mirrors.map((one) => [
    name(one.name, 160), name(one.host, 120), time(one.last, 'never'),
    one.lag === null ? faint('not known') : one.lag > STALE ? badge('warn', span(one.lag)) : span(one.lag),
    one.problem ? [badge('bad', 'failed'), ' ', long(one.problem)] : faint('none')]));
}

function storage(fleet) {
  const disk = state.index?.storage;
  const { collection } = fleet;
  const parts = [];
  if (disk && disk.size) {
    const used = disk.size - (disk.free ?? 0);
    const share = Math.round((100 * used) / disk.size);
    const bar = el('div', { class: `meter${share >= 90 ? ' bad' : share >= 75 ? ' warn' : ''}`, role: 'img', 'aria-label': `${share} percent used` }, el('span'));
    bar.firstChild.style.width = `${share}%`;
    parts.push(el('h2', null, 'Disk'), bar, facts([['Used', `${bytes(used)} (${share} %)`], ['Free', bytes(disk.free)], ['Size', bytes(disk.size)]]));
  }
  parts.push(el('h2', null, 'Garbage collection'));
  if (collection) {
    parts.push(facts([['Last', time(collection.last, 'never')], ['Freed', bytes(collection.freed)], ['Writes waited', collection.held === null ? '–' : `${collection.held.toFixed(1)} s`]]));
    if (collection.disk.length) parts.push(plainTable('Disk at the last collection', ['What', 'Value'], collection.disk.map(([key, value]) => [name(key, 80), value])));
  } else {
    parts.push(el('p', { class: 'faint' }, 'No collection is known. A timer runs it every night (maintenance_schedule), and maintain.yml runs it at once.'));
  }
  return el('div', null, parts);
}

function reports(fleet) {
  if (!fleet.reports.length) return empty('No report is kept yet', el('p', null, 'rollout.yml, doctor.yml, exposure.yml, maintain.yml, mirror.yml and backup.yml each keep their last one.'));
  return el('div', { class: 'cards' }, fleet.reports.map(reportSection));
}

const SECTIONS = { hosts: 'Hosts', running: 'Running', certificates: 'Certificates', backups: 'Backups', mirrors: 'Mirrors', storage: 'Storage', reports: 'Reports' };
const PLAIN = { certificates, backups, mirrors, storage, reports };

export class Fleet {
  constructor(context, route) {
    this.context = context;
    this.route = route;
    this.wanted = [];
    this.loaded = 0;
    context.title('Fleet');
    this.tiles = el('div');
    this.tabs = el('nav', { class: 'tabs', 'aria-label': 'Parts of the fleet' });
    this.content = el('div', null, loading());
    context.main.append(el('header', { class: 'head' }, el('h1', { tabindex: -1 }, 'Fleet'), this.tiles), this.tabs, this.content);
    this.#load();
  }

  async #load() {
    this.loaded = Date.now();
    try {
      const document = await loadFleet();
      if (this.gone || document === this.document) return;
      const first = !this.document;
      this.document = document;
      this.fleet = toFleet(document);
      this.#tiles();
      if (first) this.update(this.route);
      else this.#refresh();
    } catch (error) {
      if (!this.gone && !this.document) {
        const hidden = error.status === 404 || error.status === 403;
        this.content.replaceChildren(hidden
          ? callout('quiet', 'Your account does not see the fleet', el('p', null, 'It is shown to users who may list all repositories. Ask the operator of the registry.'))
          : problem(error, () => this.#load()));
      }
    }
  }

  data() {
    if (Date.now() - this.loaded > AGAIN) this.#load();
  }

  #tiles() {
    const { hosts, certificates: ends, backups: saved, mirrors: copies, made } = this.fleet;
    const broken = hosts.filter((host) => proof(host).kind === 'bad').length;
    const unproven = hosts.filter((host) => proof(host).kind === 'quiet').length;
    const next = ends.reduce((least, one) => (one.days !== null && (least === null || one.days < least) ? one.days : least), null);
    const proven = saved.reduce((last, one) => (one.proven !== null && (last === null || one.proven > last) ? one.proven : last), null);
    const stale = copies.filter((one) => one.problem || one.lag === null || one.lag > STALE).length;
    this.tiles.replaceChildren(facts([
      ['Hosts', count(hosts.length)],
      ['Proof', broken ? badge('bad', `${count(broken)} failed`) : hosts.length ? badge('good', unproven ? `${count(hosts.length - unproven)} of ${count(hosts.length)} good` : 'all good') : faint('none')],
      ['Next certificate', ends.length ? days(next) : faint('not known')],
      ['Proven restore', saved.length ? (proven === null ? badge('warn', 'never') : time(proven)) : badge('warn', 'no backup')],
      copies.length > 0 && ['Mirrors', stale ? badge('warn', `${count(stale)} stale`) : badge('good', 'fresh')],
      ['As of', time(made)],
    ]));
  }

  update(route) {
    const before = this.route;
    this.route = route;
    if (!this.document) return;
    const wanted = Object.hasOwn(SECTIONS, route.section) ? route.section : 'hosts';
    if (wanted !== this.showing) {
      this.table?.destroy();
      this.table = null;
      this.showing = wanted;
      this.#tabs();
      if (Object.hasOwn(VIRTUAL, wanted)) this.#build(VIRTUAL[wanted]);
    }
    this.context.title(`${SECTIONS[wanted]} · Fleet`);
    if (this.table) {
      this.search.value = route.parameters.q ?? '';
      this.table.setOrder(this.#order());
      this.#rows({ changed: true });
      this.#panel(before.parameters.host !== route.parameters.host);
    } else {
      this.content.replaceChildren(PLAIN[wanted](this.fleet));
    }
    this.context.ready();
  }

  #refresh() {
    if (this.table) this.#rows({ keep: true });
    else this.content.replaceChildren(PLAIN[this.showing](this.fleet));
  }

  #tabs() {
    const focused = this.tabs.contains(document.activeElement) ? document.activeElement.dataset.show : '';
    const amounts = { hosts: this.fleet.hosts, running: this.fleet.runs, certificates: this.fleet.certificates, backups: this.fleet.backups, mirrors: this.fleet.mirrors, reports: this.fleet.reports };
    this.tabs.replaceChildren(...Object.entries(SECTIONS).map(([section, title]) =>
      link(to.fleet(section), { 'aria-current': section === this.showing ? 'page' : null, 'data-show': section }, title, ' ', amounts[section] && el('span', { class: 'amount' }, count(amounts[section].length)))));
    if (focused) this.tabs.querySelector(`[data-show="${CSS.escape(focused)}"]`)?.focus();
  }

  #order() {
    const { sort, desc } = this.route.parameters;
    return sort ? { by: sort, desc: desc === '1' } : VIRTUAL[this.showing].order;
  }

  #replace(parameters) {
    this.context.replace(to.fleet(this.showing, { ...this.route.parameters, ...parameters }));
  }

  #build(shows) {
    this.search = new Search({ label: shows.search, value: this.route.parameters.q, onInput: (query) => this.#replace({ q: query.trim() }), onDown: () => this.table.focus(0) });
    this.table = new Table({
      label: shows.label,
      kind: this.showing === 'hosts' ? 'fleet-hosts' : 'fleet-running',
      key: shows.key,
      order: this.#order(),
      onOrder: ({ by, desc }) => this.#replace({ sort: by, desc: desc ? '1' : '' }),
      columns: shows.columns(this),
    });
    this.nothing = el('div');
    this.side = el('div', { class: 'side' });
    this.split = el('div', { class: 'split' }, el('div', { class: 'list' }, this.table.node, this.nothing), this.side);
    this.content.replaceChildren(el('div', { class: 'toolbar' }, this.search.node), this.split);
  }

  #rows(options) {
    const shows = VIRTUAL[this.showing];
    const all = shows.rows(this.fleet);
    this.wanted = words(this.route.parameters.q ?? '');
    const rows = this.wanted.length ? all.filter((row) => matches(shows.text(row), this.wanted)) : all;
    this.search.tell(rows.length, all.length, shows.one);
    this.search.node.hidden = all.length === 0;
    this.table.setRows(rows, options);
    this.nothing.replaceChildren(...(rows.length ? [] : [all.length ? empty('Nothing matches', el('p', null, 'Each word is searched for by itself.')) : shows.nothing()]));
  }

  #panel(moved) {
    const wanted = this.showing === 'hosts' ? this.route.parameters.host : '';
    const host = wanted ? this.fleet.hosts.find((one) => one.name === wanted) : null;
    this.table.setCurrent(wanted ?? '');
    this.split.classList.toggle('open', Boolean(host));
    this.side.replaceChildren(...(host ? [hostPanel(host, imageLink, () => this.close())] : []));
    if (host && moved) {
      this.side.querySelector('h2').focus({ preventScroll: true });
      const { top } = this.side.getBoundingClientRect();
      if (top < 0 || top > innerHeight - 120) this.side.scrollIntoView({ block: 'start' });
    } else if (!host && this.afterClose) {
      this.table.focusKey(this.afterClose);
      this.afterClose = '';
    }
  }

  close() {
    const { host } = this.route.parameters;
    if (!host || this.showing !== 'hosts') return false;
    this.afterClose = host;
    this.context.go(to.fleet('hosts', { ...this.route.parameters, host: '' }));
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

