// Addresses of views. They are fragments, so that one file serves all of them, and the server hears nothing of what is looked at.
//   #/?q=web                                 repositories
//   #/repository/apps/api                    a repository; ?show=untagged, ?show=retention
//   #/repository/apps/api:1.4.2              the same with one tag opened
//   #/image/apps/api@sha256:…?with=1.4.1     an image, compared with a tag
//   #/fleet/running?host=web1                the fleet

const part = (value) => encodeURIComponent(value).replace(/%2F/g, '/').replace(/%3A/g, ':').replace(/%40/g, '@');

function query(parameters) {
	const pairs = Object.entries(parameters ?? {}).filter(([, value]) => value);
	return pairs.length ? `?${new URLSearchParams(pairs)}` : '';
}

export const to = {
	repositories: (parameters) => `#/${query(parameters)}`,
	repository: (repository, tag, parameters) => `#/repository/${part(repository)}${tag ? `:${part(tag)}` : ''}${query(parameters)}`,
	image: (repository, digest, parameters) => `#/image/${part(repository)}@${part(digest)}${query(parameters)}`,
	fleet: (section, parameters) => `#/fleet${section && section !== 'hosts' ? `/${part(section)}` : ''}${query(parameters)}`,
};

function decode(value) {
	try {
		return decodeURIComponent(value);
	} catch {
		return value;
	}
}

// {view, …} of a fragment. What is not known is the view "nowhere".
export function parse(hash) {
	const [path, search = ''] = hash.replace(/^#/, '').split(/\?(.*)/s);
	const parameters = Object.fromEntries(new URLSearchParams(search));
	const whole = decode(path);
	if (whole === '' || whole === '/') return { view: 'repositories', parameters };
	if (whole.startsWith('/repository/')) {
		const [repository, tag = ''] = whole.slice('/repository/'.length).split(/:(.*)/s);
		return { view: 'repository', repository, tag, parameters };
	}
	if (whole.startsWith('/image/')) {
		const [repository, digest = ''] = whole.slice('/image/'.length).split(/@(.*)/s);
		return { view: 'image', repository, digest, parameters };
	}
	if (whole === '/fleet' || whole.startsWith('/fleet/')) {
		return { view: 'fleet', section: whole.slice('/fleet/'.length) || 'hosts', parameters };
	}
	return { view: 'nowhere', parameters };
}
