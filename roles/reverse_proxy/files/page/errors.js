// What went wrong, in words, each with a cure.

export class PageError extends Error {
	constructor(status, title, cure, detail = '') {
		super(title);
		this.status = status;
		this.title = title;
		this.cure = cure;
		// What the server said, which is text of others.
		this.detail = detail;
	}
}

export const UNREADABLE = 'Reload the page. If that does not help, ask the operator to check journalctl --unit wharf-registry-page.';

const WORDS = {
	0: ['The registry does not answer', 'Check the network and the VPN. The page tries again by itself.'],
	400: ['The registry did not understand the request', 'Reload the page: the registry may have been upgraded since it was opened.'],
	401: ['You are not logged in', 'Reload the page and log in with your user name and password of this registry.'],
	403: ['Your account may not do this', 'Ask the operator of the registry for a rule that allows it (reverse_proxy_users).'],
	404: ['Not found', 'It may have been deleted, or your account may not see it. Go back to the list of repositories.'],
	429: ['There were too many requests', 'Wait a minute. The page tries again by itself.'],
	503: ['The registry is not available at the moment', 'It may be restarting. The page tries again by itself.'],
};

export function fromStatus(status, detail = '') {
	const [title, cure] = WORDS[status] ?? (status >= 500 ? WORDS[503] : WORDS[400]);
	return new PageError(status, title, cure, detail);
}

export const noAnswer = () => fromStatus(0);
