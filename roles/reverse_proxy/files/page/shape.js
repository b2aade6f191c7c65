// What the page takes from JSON. A value of another type than expected is as good as absent: it must not break a view.

export const text = (value) => (typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '');
export const number = (value) => (typeof value === 'number' && Number.isFinite(value) ? value : null);
export const list = (value) => (Array.isArray(value) ? value : []);
export const dict = (value) => (value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {});
export const yes = (value) => value === true;

// An object of such values: {field: how}, or {field: [name in the file, how]}.
export function pick(value, fields) {
	const from = dict(value);
	const found = {};
	for (const field in fields) {
		const how = fields[field];
		found[field] = typeof how === 'function' ? how(from[field]) : how[1](from[how[0]]);
	}
	return found;
}
export const picks = (value, fields) => list(value).map((one) => pick(one, fields));
export const own = (object, key) => (Object.hasOwn(object, key) ? object[key] : undefined);

// What may become a part of a path or of a command for a shell. Other names are shown, and lead nowhere.
const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})$/;
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/;

export const isName = (value) => typeof value === 'string' && value.length < 256 && NAME.test(value);
export const isTag = (value) => typeof value === 'string' && TAG.test(value);
export const isDigest = (value) => typeof value === 'string' && DIGEST.test(value);
export const isHost = (value) => typeof value === 'string' && HOST.test(value);
