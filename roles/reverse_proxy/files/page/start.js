// What must not wait for the modules. A plain script: it runs before anything is painted, so that nothing flashes in other colours, and
// asks for the index while the rest is loaded.
(() => {
	'use strict';
	const KEY = 'wharf-theme';
	const root = document.documentElement;
	let chosen = '';
	try {
		chosen = localStorage.getItem(KEY) || '';
	} catch {
		// Storage may be forbidden. The choice then lasts until the page is closed.
	}
	const dark = matchMedia('(prefers-color-scheme: dark)');
	const apply = () => {
		root.dataset.theme = chosen === 'light' || chosen === 'dark' ? chosen : 'auto';
	};
	apply();
	window.wharfTheme = {
		isDark: () => (root.dataset.theme === 'auto' ? dark.matches : root.dataset.theme === 'dark'),
		toggle() {
			const wanted = this.isDark() ? 'light' : 'dark';
			// What equals the system's choice follows it from then on.
			chosen = wanted === (dark.matches ? 'dark' : 'light') ? '' : wanted;
			try {
				if (chosen) localStorage.setItem(KEY, chosen);
				else localStorage.removeItem(KEY);
			} catch {
				// As above.
			}
			apply();
		},
	};
})();
// See ask() in api.js.
window.wharfFirst = fetch(`${location.origin}/page/data/index.json`, { cache: 'no-store', redirect: 'error' }).catch(() => null);
