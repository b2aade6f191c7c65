# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaces the running containers of the proxy while clients are served. Private to this collection.

The proxy has two parts, each in a container: `auth` checks passwords, and `nginx` serves, in the network of a third
container that holds the ports and sleeps. A part is in one of these states, by what the engine says alone, so that a
run that was killed is finished by the next one:

  absent    neither NAME nor NAME-next
              create NAME                                                           -> alone
  alone     NAME
              it fits: nothing, or change its limits while it runs                  -> alone
              it does not run: start it, or create it anew                          -> alone
              it does not fit: create NAME-next                                     -> both
  both      NAME serves, and NAME-next was not found to be healthy yet
              in the same run, once NAME-next is healthy: drain NAME                -> draining
              found by a later run: remove NAME-next                                -> alone
  draining  NAME has the mark of a drain, or does not run, and NAME-next serves
              remove NAME, rename NAME-next to NAME                                 -> alone

Only a healthy container takes over. What was loaded last is kept, files and image, and comes back where the new one
does not serve.
"""

from __future__ import annotations

import contextlib

from ansible_collections.wharf.registry.plugins.module_utils._common.errors import RegistryError
from ansible_collections.wharf.registry.plugins.module_utils._engine.docker_api import EngineError
from ansible_collections.wharf.registry.plugins.module_utils._engine.proxy_trial import ProxyError, TrialError

# The file of a container that was told to end.
_DRAINED = "/tmp/drained"  # noqa: S108
# Nanoseconds are not compared: engines write as many digits as they like.
_SECOND = 19


class NetworkError(EngineError):
    """The container that holds the ports can't be started."""


class Part:
    """One part of the proxy: auth or nginx. script: the path of nginx.sh in its container."""

    def __init__(self, name, spec, next_spec, stop_timeout, script):
        self.name = name
        self.spec = spec
        self.next_spec = next_spec
        self.stop_timeout = stop_timeout
        self.script = script


class ProxyReplacement:
    """One run. actions: what was done, or would be, as (container, action) pairs."""

    def __init__(self, containers, parts, network, *, image, loaded, trial, limits):
        """containers: a Containers. parts: auth and nginx. network: a HeldNetwork. loaded: a LoadedConfig.

        trial: a Trial. limits: `start_timeout` and `drain_seconds`.
        """
        self._containers = containers
        self._auth, self._front = parts
        self._network = network
        self._image = image
        self._loaded = loaded
        self._trial = trial
        self._start_timeout = limits["start_timeout"]
        self._drain_seconds = limits["drain_seconds"]
        self._tried = False
        # When the network was started.
        self._joined_since = ""
        self.actions = []
        self.differences = {}
        self.network_changed = False
        self._use(image)

    def _use(self, image):
        for part in (self._auth, self._front):
            part.spec.image = part.next_spec.image = image

    # ---- check mode ----

    def foretell(self, files_change):
        """What a run would do, without doing it. files_change: whether files that count are about to change."""
        image_id = self._containers.image_id(self._image)
        holder = self._containers.inspect(self._network.spec.name)
        self.network_changed = self._network.differs(self._containers, holder)
        if self.network_changed:
            self.actions.append((self._network.spec.name, "replaced" if holder else "created"))
        for part in (self._auth, self._front):
            found = self._containers.inspect(part.spec.name)
            if part is self._front:
                part.spec.parts["HostConfig"]["NetworkMode"] = f"container:{(holder or {}).get('Id', '')}"
                if holder is not None:
                    self._joined_since = holder["State"]["StartedAt"][:_SECOND]
            self._foretell(part, found, image_id)
        if files_change or self._loaded.differs:
            self.actions.append((self._front.spec.name, "reloaded"))

    def _foretell(self, part, found, image_id):
        if self._containers.inspect(part.next_spec.name) is not None:
            self.actions.append((part.spec.name, "settled"))
        if found is None:
            self.actions.append((part.spec.name, "created"))
            return
        differing = part.spec.differences(found, image_id or "none")
        self._note(part.spec.name, differing)
        if not found["State"]["Running"]:
            self.actions.append((part.spec.name, "started"))
        elif differing:
            live = all(one.live for one in differing)
            self.actions.append((part.spec.name, "updated" if live else "replaced"))
        elif self._is_left_behind(part, found):
            self.actions.append((part.spec.name, "restarted"))

    # ---- the run ----

    def run(self):
        """Raises ProxyError, NetworkError, EngineError and EngineDownError."""
        before = self._containers.inspect(self._front.spec.name)
        returns = before is not None and self._loaded.can_return
        image_id = self._containers.image_id(self._image)
        if not image_id:
            raise EngineError(f"the image {self._image} is not on this host", "Correct reverse_proxy_image")
        if self._loaded.differs or before is None or before["Image"] != image_id:
            self._try(returns)
        try:
            self._ensure(self._auth, image_id)
            self._ensure_network()
            self._ensure(self._front, image_id)
        except (NetworkError, TrialError):
            raise
        except RegistryError as error:
            said = f"The engine said: {error} Its last words: {self._last_words()}"
            if returns:
                self._return(before)
            raise ProxyError(f"did not become healthy. {_outcome(returns)} {said}") from None
        if self._loaded.differs:
            self._reload()

    def _try(self, returns):
        self._tried = True
        for part in (self._auth, self._front):
            # A trial mounts the same.
            self._containers.prepare(part.spec)
        try:
            self._trial.run()
        except TrialError as error:
            self._loaded.restore()
            serves = "The running proxy keeps serving. " if returns else ""
            raise TrialError(f"{error.message}. {serves}Its first words: {error.cure}") from None

    def _last_words(self):
        for name in (self._auth.next_spec.name, self._front.next_spec.name, self._front.spec.name):
            said = self._containers.last_words(name)
            if said:
                return said
        return "none"

    def _return(self, before):
        """What ran before comes back. If this fails too, its own message says why."""
        image_id = before["Image"]
        self._loaded.restore()
        self._use(self._containers.name_of_image(before))
        for part in (self._auth, self._front):
            self._settle(part)
        # The former nginx was left alone until the one beside it was healthy; the check of passwords may be a new one.
        for part in (self._auth, self._front):
            now = self._containers.inspect(part.spec.name)
            if now is None or not now["State"]["Running"] or now["Image"] != image_id:
                self._ensure(part, image_id)

    def _reload(self):
        for part in (self._auth, self._front):
            status, said = self._run(part, "test", part.name)
            if status:
                self._loaded.restore()
                raise ProxyError(f"refuses to load its configuration, and goes on with the former one. {said.strip()}")
        for part in (self._auth, self._front):
            status, said = self._run(part, "load", part.name)
            if status:
                raise ProxyError(f"could not load its configuration. {said.strip()}")
            self.actions.append((part.spec.name, "reloaded"))
        self._loaded.keep()

    # ---- the network ----

    def _ensure_network(self):
        front = self._containers.inspect(self._front.spec.name)
        try:
            holder, changed = self._network.ensure(self._containers, front, self._image)
        except EngineError as error:
            raise NetworkError(error.message, error.cure) from None
        self.network_changed = changed
        if changed:
            self.actions.append((self._network.spec.name, "started"))
        for spec in (self._front.spec, self._front.next_spec):
            spec.parts["HostConfig"]["NetworkMode"] = f"container:{holder['Id']}"
        self._joined_since = holder["State"]["StartedAt"][:_SECOND]

    # ---- one part ----

    def _ensure(self, part, image_id):
        self._settle(part)
        found = self._containers.inspect(part.spec.name)
        if found is None:
            self._create(part.spec)
            self._published(part)
            self.actions.append((part.spec.name, "created"))
            return
        differing = part.spec.differences(found, image_id)
        self._note(part.spec.name, differing)
        if not found["State"]["Running"]:
            self._start_again(part, differing)
        elif not all(one.live for one in differing):
            self._replace(part)
        else:
            self._keep(part, found, differing)

    def _keep(self, part, found, differing):
        """One that fits, but for its limits at most."""
        if self._is_left_behind(part, found):
            self._containers.restart(part.spec.name, part.stop_timeout)
            self.actions.append((part.spec.name, "restarted"))
        if differing:
            self._containers.update(part.spec.name, part.spec)
            self.actions.append((part.spec.name, "updated"))
        self._containers.wait_until_healthy(part.spec, self._start_timeout)

    def _is_left_behind(self, part, found):
        """Whether its network was started anew: it hears no client in the former one."""
        return part is self._front and found["State"]["StartedAt"][:_SECOND] < self._joined_since

    def _start_again(self, part, differing):
        if differing:
            self._containers.remove(part.spec.name, part.stop_timeout)
            self._create(part.spec)
        else:
            self._containers.start(part.spec.name)
            self._containers.wait_until_healthy(part.spec, self._start_timeout)
        self._published(part)
        self.actions.append((part.spec.name, "started"))

    def _create(self, spec):
        self._containers.create(spec)
        self._containers.wait_until_healthy(spec, self._start_timeout)

    def _replace(self, part):
        if part is self._front and not self._tried:
            # It differs by the settings of the container alone.
            self._try(returns=True)
        self._create(part.next_spec)
        self._take_over(part)
        self.actions.append((part.spec.name, "replaced"))

    def _settle(self, part):
        """Keeps one, where a run that was killed has left two."""
        if self._containers.inspect(part.next_spec.name) is None:
            return
        found = self._containers.inspect(part.spec.name)
        if found is not None and found["State"]["Running"] and not self._was_drained(part):
            # The newer one was not found to be healthy yet.
            self._published(part)
            self._end(part, part.next_spec.name)
            self.actions.append((part.spec.name, "kept"))
        else:
            self._take_over(part)
            self.actions.append((part.spec.name, "taken over"))

    def _was_drained(self, part):
        try:
            return self._containers.run_in(part.spec.name, ["test", "-e", _DRAINED])[0] == 0
        except EngineError:
            return True

    def _take_over(self, part):
        self._end(part, part.spec.name)
        self._containers.rename(part.next_spec.name, part.spec.name)
        self._published(part)

    def _end(self, part, name):
        """Lets a container finish what it serves, and removes it. It may be dead, which is why it goes."""
        with contextlib.suppress(EngineError):
            seconds = self._drain_seconds
            self._run(part, "drain", part.name, str(seconds), container=name, seconds=seconds + 30)
        self._containers.remove(name, part.stop_timeout)

    def _published(self, part):
        """Has passwords checked by this auth and no other one."""
        if part is self._auth:
            # Where it does not run, another message says so.
            with contextlib.suppress(EngineError):
                self._run(part, "publish")

    def _run(self, part, *arguments, container="", seconds=60):
        """(exit status, output) of nginx.sh in the container of a part, or in the one beside it."""
        return self._containers.run_in(container or part.spec.name, ["sh", part.script, *arguments], seconds=seconds)

    def _note(self, name, differing):
        if differing:
            self.differences[name] = differing


def _outcome(returns):
    return "Its former image and configuration are back, and serve." if returns else "There is none to go back to."
