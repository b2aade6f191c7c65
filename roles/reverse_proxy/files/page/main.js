// Starts the page: the bar on top, the view that the address names, the keys, and what is said of the connection.
import { logOut } from './api.js';
import { poll, state, stop, watch } from './data.js';
import { announce, el, icon, isTyping, link } from './dom.js';
import { refreshTimes, time } from './format.js';
import { Fleet } from './fleet.js';
import { Image } from './image.js';
import { button, callout, empty, h1, loading, problem } from './parts.js';
import { Repositories } from './repositories.js';
import { Repository } from './repository.js';
import { parse, to } from './routes.js';
import { name, plain } from './text.js';

const main = document.getElementById('main');
const connection = document.getElementById('connection');
const bar = document.getElementById('bar');
const VIEWS = { repositories: Repositories, repository: Repository, image: Image, fleet: Fleet };

let view = null;
let shown = null;
let loggedOut = false;

// ---- the address

// Where the reader was in each entry of the history: views are drawn late, so that the browser can't know.
const places = new Map();
let entry = '';
history.scrollRestoration = 'manual';

function enter() {
	const known = history.state?.entry;
	entry = known ?? crypto.randomUUID();
	if (!known) history.replaceState({ entry }, '');
	return known ? (places.get(entry) ?? 0) : 0;
}

const context = {
	main,
	go(route) {
		location.hash = route.slice(1);
	},
	// Another form of the same place, such as another search: no entry of its own in the history.
	replace(route) {
		history.replaceState({ entry }, '', route);
		shown = parse(location.hash);
		view.update(shown);
		bars();
	},
	title(words) {
		document.title = `${plain(words, 120)} · ${plain(state.registry, 80)}`;
	},
	// A view has drawn what it is about: now there is something to scroll to.
	ready() {
		if (wantedPlace === null) return;
		const place = wantedPlace;
		wantedPlace = null;
		window.scrollTo({ top: place, behavior: 'instant' });
	},
};
let wantedPlace = null;

const sameSubject = (one, other) => one && one.view === other.view && one.repository === other.repository && one.digest === other.digest;

function show(first = false) {
	const place = enter();
	const route = parse(location.hash);
	if (loggedOut) return;
	if (!state.index) return;
	if (view && sameSubject(shown, route)) {
		shown = route;
		view.update(route);
		bars();
		return;
	}
	view?.destroy?.();
	main.replaceChildren();
	shown = route;
	wantedPlace = place;
	if (!place) window.scrollTo({ top: 0, behavior: 'instant' });
	const Kind = VIEWS[route.view];
	view = Kind ? new Kind(context, route) : nowhere();
	bars();
	if (!first) {
		main.querySelector('h1')?.focus({ preventScroll: true });
		announce(document.title, true);
	}
}

function nowhere() {
	context.title('Not found');
	main.append(h1('There is nothing here'), empty('The address leads nowhere', el('p', link(to.repositories(), 'Go to the list of repositories'))));
	return { update() {}, data() {} };
}

// ---- the bar

function bars() {
	const here = shown?.view;
	const at = (views) => (views.includes(here) ? 'page' : null);
	bar.querySelector('.where').replaceChildren(
		link(to.repositories(), { 'aria-current': at(['repositories', 'repository', 'image']) }, 'Repositories'),
		...(state.index?.fleet ? [link(to.fleet(), { 'aria-current': at(['fleet']) }, 'Fleet')] : []));
	bar.querySelector('.registry').replaceChildren(name(state.registry, 80));
	bar.querySelector('.who').replaceChildren(...(state.user ? [el('span.spoken', 'Logged in as '), name(state.user, 60)] : []));
}

const themeButton = document.getElementById('theme');
function themeLabel() {
	const words = window.wharfTheme.isDark() ? 'Light colours' : 'Dark colours';
	themeButton.setAttribute('aria-label', words);
	themeButton.title = words;
}
themeButton.append(icon('moon'));
themeButton.addEventListener('click', () => {
	window.wharfTheme.toggle();
	themeLabel();
	announce(window.wharfTheme.isDark() ? 'Dark colours' : 'Light colours', true);
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', themeLabel);
themeLabel();

const leave = document.getElementById('logout');
leave.append(icon('leave'), el('span.wide', 'Log out'));
leave.addEventListener('click', async () => {
	leave.disabled = true;
	loggedOut = true;
	view?.destroy?.();
	view = null;
	stop();
	const forgotten = await logOut();
	connection.replaceChildren();
	bar.classList.add('out');
	document.title = 'Logged out';
	main.replaceChildren(h1(forgotten ? 'Logged out' : 'Log-out failed'), forgotten
		? empty('The browser has forgotten the password', el('p', 'This page shows nothing any more. To see it again, log in with your password.'), again('Log in again'))
		: empty('The browser may still hold the password', el('p', 'The registry did not answer. Close all windows of the browser, or try again when the registry is back.'), again('Reload the page')));
	main.querySelector('h1').focus();
});

function again(words) {
	return el('p.actions', button('button', words, () => location.reload()));
}

// ---- the connection

let said = null;
function connected() {
	const { failure } = state;
	if (failure === said) return;
	said = failure;
	connection.replaceChildren();
	if (!failure) return;
	announce(failure.title, true);
	if (!state.index) {
		main.replaceChildren(h1(plain(state.registry, 80)), problem(failure, () => poll()));
		return;
	}
	const act = failure.status === 401
		? button('plain', 'Log in', () => location.reload())
		: button('plain', 'Try now', () => poll());
	connection.append(callout('warn', failure.title, el('p', 'What you see is as of ', time(state.heard / 1000), `. ${failure.cure}`), el('p.actions', act)));
}

watch(() => {
	if (loggedOut) return;
	connected();
	if (!state.index) return;
	if (view) view.data();
	else show(true);
	bars();
});

// ---- keys

document.addEventListener('keydown', (event) => {
	if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
	if (event.key === '/' && !isTyping(event.target)) {
		if (!view?.focusSearch) return;
		event.preventDefault();
		view.focusSearch();
	} else if (event.key === 'Escape') {
		if (view?.close?.()) event.preventDefault();
		else if (isTyping(event.target)) event.target.blur();
	}
});
document.querySelector('.skip').addEventListener('click', (event) => {
	// Its address would be taken for a view.
	event.preventDefault();
	main.focus();
});

window.addEventListener('hashchange', () => show());
window.addEventListener('scroll', () => places.set(entry, scrollY), { passive: true });
setInterval(refreshTimes, 15_000);

main.replaceChildren(loading());
bars();
poll();
