// Commands to copy. A name that is none is not put into a command: a shell would run what it says.
import { isDigest, isHost, isName, isTag } from './shape.js';

export const TOOLS = ['docker', 'podman', 'crictl'];

export function reference(registry, repository, tagOrDigest) {
  if (!isHost(registry) || !isName(repository)) return '';
  if (isDigest(tagOrDigest)) return `${registry}/${repository}@${tagOrDigest}`;
  return isTag(tagOrDigest) ? `${registry}/${repository}:${tagOrDigest}` : '';
}

export function pull(tool, registry, repository, tagOrDigest) {
  const image = reference(registry, repository, tagOrDigest);
  return image && `${tool} pull ${image}`;
}

export const firstPush = (registry) =>
  isHost(registry)
    ? [`docker login ${registry}`, `docker tag IMAGE ${registry}/team/app:1.0`, `docker push ${registry}/team/app:1.0`]
    : [];
