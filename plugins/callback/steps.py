# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: steps
type: stdout
short_description: One line a step, and all of what failed
version_added: 0.1.0
author: wharf.registry contributors (@wharf)
description:
  - Shows a play as steps. A step is what tasks of a role have in common in the first part of their names, such as
    C(network) in C(network | Make the network). Its line tells its seconds, what came of it, and the task that made it
    slow. Steps that changed nothing and were quick share the line of their role.
  - On a terminal the last line shows what runs now. Elsewhere only what is over is written, and once a minute what
    still runs.
  - What a play tells by M(ansible.builtin.debug), warnings, and differences (C(--diff)) are shown whole.
  - Of a failure all is shown, with its file and line, the items of a loop that failed, and what ran before it on that
    host. What is ignored or rescued is one line.
  - With C(-v), and for C(ansible) without a playbook, all is shown as P(ansible.builtin.default#callback) does. Its
    recap is in the end in any case.
  - Where hosts go their own ways (P(ansible.builtin.free#strategy)), the lines come at the end of the play.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in configuration
options:
  result_format:
    default: yaml
  slow_seconds:
    description: A task that takes longer is named while it runs, and in the line of its step.
    type: float
    default: 3
    env:
      - name: WHARF_STEPS_SLOW_SECONDS
    ini:
      - section: callback_steps
        key: slow_seconds
  quick_seconds:
    description: A step that takes less, and changes nothing, shares the line of its role.
    type: float
    default: 1
    env:
      - name: WHARF_STEPS_QUICK_SECONDS
    ini:
      - section: callback_steps
        key: quick_seconds
  still_seconds:
    description: After so many seconds without a line, what still runs is named. A terminal shows it anyway.
    type: float
    default: 60
    env:
      - name: WHARF_STEPS_STILL_SECONDS
    ini:
      - section: callback_steps
        key: still_seconds
  max_lines:
    description:
      - After so many lines of steps, only those that fail or take O(slow_seconds) get a line of their own. The others
        share the line of their role, which names the ones that changed something.
    type: int
    default: 16
    env:
      - name: WHARF_STEPS_MAX_LINES
    ini:
      - section: callback_steps
        key: max_lines
"""

import atexit
import collections
import functools
import os
import textwrap
import time

from ansible import constants as C  # noqa: N812 # its name in all of Ansible
from ansible import context
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.utils.fqcn import add_internal_fqcns
from ansible_collections.wharf.registry.plugins.plugin_utils._steps import screen, steps, words
from ansible_collections.wharf.registry.plugins.plugin_utils._steps.page import Page

# How many tasks before a failure are shown.
BEFORE = 10
# What may wait for input, whose line is not to be overwritten.
ASKS = add_internal_fqcns(("pause",))


def ours(event):
    """An event that the default callback takes where all is to be shown."""

    @functools.wraps(event)
    def either(self, *args, **kwargs):
        if self.all:
            return getattr(Default, event.__name__)(self, *args, **kwargs)
        return event(self, *args, **kwargs)

    return either


class CallbackModule(Default):
    """Collects the events of tasks into steps, and writes a line when a step is over."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "wharf.registry.steps"

    def __init__(self):
        super().__init__()
        self.all = self._display.verbosity > 0
        self._screen = screen.Screen(self._display)
        self._page = Page(self._screen, self.get_option)
        self._words = words.Words(self._dump_results, self._get_item_label)
        self._started = time.monotonic()
        self._batch = 0
        self._free = self._interactive = False
        self._steps, self._running = {}, {}
        self._failures, self._bodies = [], {}
        self._before = collections.defaultdict(lambda: collections.deque(maxlen=BEFORE))

    # What a run, a play and a task begin with.

    def v2_playbook_on_start(self, playbook):
        name = os.path.basename(playbook._file_name)
        self.all = self.all or name == "__adhoc_playbook__"
        if self.all:
            super().v2_playbook_on_start(playbook)
            return
        self._screen.line(name + (" in check mode: nothing is changed" if context.CLIARGS.get("check") else ""))
        self._screen.start(self._tick)
        atexit.register(self._screen.stop)

    @ours
    def v2_playbook_on_play_start(self, play):
        self._end_play()
        title = play.get_name().strip() or "play"
        # The batches of `serial` are one play that starts again.
        again = self._play is not None and play._uuid == self._play._uuid
        self._batch = self._batch + 1 if again else 1
        self._page.begin(title if self._batch == 1 else f"{title}, batch {self._batch}")
        self._play = play
        strategy = str(play.strategy).rpartition(".")[2]
        self._free = strategy in ("free", "host_pinned")
        # A debugger reads from the terminal, where nothing may be overwritten.
        self._interactive = strategy == "debug" or C.config.get_config_value("ENABLE_TASK_DEBUGGER")

    @ours
    def v2_playbook_on_task_start(self, task, is_conditional):
        self._begin(task)

    @ours
    def v2_playbook_on_handler_task_start(self, task):
        self._begin(task, "handlers")

    @ours
    def v2_runner_on_start(self, host, task):
        self._page.hosts.add(host.get_name())
        self._of(task).hosts[host.get_name()] = time.monotonic()

    def _begin(self, task, part=None):
        running = self._of(task, part)
        if not self._free:
            self._finish(running.step)
        self._paint()

    def _of(self, task, part=None):
        """The entry of a task among those that run."""
        running = self._running.get(task._uuid)
        if running is None:
            now = time.monotonic()
            self._close(now)
            step = self._step(task, part)
            running = steps.Running(step, task.get_name().strip(), now, asks=task.action in ASKS)
            self._running[task._uuid] = running
            step.begin(now)
        return running

    def _step(self, task, part):
        """The step that a task belongs to. A role that another one calls is a part of that one's steps."""
        roles = steps.roles_of(task)
        part = part or str(task.name or task.action).partition(" | ")[0]
        if roles and roles[0] != roles[-1]:
            part = f"{roles[0]} {part}"
        role = roles[-1] if roles else ""
        return self._steps.setdefault((role, part), steps.Step(role, part))

    def _close(self, now):
        """End the tasks that all hosts have answered. Until the next one begins, Ansible still works for them."""
        for uuid, running in list(self._running.items()):
            if not running.hosts:
                running.step.end(now, running.name, now - running.started)
                del self._running[uuid]

    def _finish(self, current=None):
        """Show the steps that are over."""
        for key, step in list(self._steps.items()):
            if step is not current and not step.open:
                del self._steps[key]
                self._page.show(step)

    def _end_play(self):
        now = time.monotonic()
        for running in self._running.values():
            running.hosts.clear()
        self._close(now)
        self._finish()
        self._page.end()

    def _slowest(self):
        return min(list(self._running.values()), key=lambda one: one.started, default=None)

    def _paint(self):
        running = self._slowest()
        if running is None or not self._screen.terminal:
            return
        if running.asks or self._interactive:
            self._screen.clear()
            return
        now = time.monotonic()
        text = f"  {running.step.label}  {now - running.step.began + running.step.seconds:.0f} s"
        if now - running.started >= self.get_option("slow_seconds"):
            text += f"  {running.text(now, self._page.many, short=True)}"
        self._screen.paint(text)

    def _tick(self):
        """Called each second by the clock's thread: reads, and changes nothing."""
        if self._screen.terminal:
            self._paint()
            return
        running, now = self._slowest(), time.monotonic()
        if running and now - max(running.started, self._screen.written) >= self.get_option("still_seconds"):
            self._screen.line(f"  still: {running.text(now, self._page.many)}")

    # What comes of a task.

    def _result(self, result, word):
        """What all results have in common. Returns the step."""
        self._screen.clear()
        self._handle_warnings(result._result)
        host, task, now = result._host.get_name(), result._task, time.monotonic()
        running = self._of(task)
        took = now - running.hosts.pop(host, now)
        self._page.hosts.add(host)
        if word != "skipped":
            running.step.hosts.add(host)
            if not isinstance(task, TaskInclude):
                self._before[host].append(f"{word:<9} {steps.seconds(took):>8}  {task.get_name().strip()}")
        return running.step

    @ours
    def v2_runner_on_ok(self, result):
        changed = result._result.get("changed", False)
        step = self._result(result, "changed" if changed else "ok")
        if changed:
            step.changed.add(result._host.get_name())
        if result._task.loop is None or "results" not in result._result:
            self._tell(result)

    @ours
    def v2_runner_on_skipped(self, result):
        self._result(result, "skipped")

    @ours
    def v2_runner_on_failed(self, result, ignore_errors=False):
        before = list(self._before[result._host.get_name()])
        spared = "ignored" if ignore_errors else "rescued" if steps.is_rescued(result._task) else ""
        step = self._result(result, spared or "failed")
        if spared:
            self._spare(spared, result)
            return
        step.failed.add(result._host.get_name())
        self._fail("FAILED!", result, before)

    @ours
    def v2_runner_on_unreachable(self, result):
        ignored = result._task.ignore_unreachable
        step = self._result(result, "ignored" if ignored else "unreachable")
        if ignored:
            self._spare("ignored", result)
            return
        step.failed.add(result._host.get_name())
        self._fail("UNREACHABLE!", result, [])

    @ours
    def v2_runner_item_on_ok(self, result):
        self._item(result)
        self._tell(result)

    @ours
    def v2_runner_item_on_failed(self, result):
        # Shown with its task, which ends as failed or is spared.
        self._item(result)

    @ours
    def v2_runner_item_on_skipped(self, result):
        self._item(result)

    def _item(self, result):
        self._screen.clear()
        self._handle_warnings(result._result)

    @ours
    def v2_runner_retry(self, result):
        self._of(result._task).note = f"try {result._result['attempts'] + 1} of {result._result['retries']}"

    @ours
    def v2_on_file_diff(self, result):
        where = f"{self.host_label(result)}: " if self._page.many else ""
        for one in result._result.get("results", [result._result]):
            if one.get("diff") and one.get("changed", False) and (diff := self._get_diff(one["diff"])):
                self._of(result._task).step.diffs.append(f"{where}{result._task.get_name().strip()}\n{diff}")

    @ours
    def v2_runner_on_async_poll(self, result):
        """The clock tells that it still runs."""

    @ours
    def v2_runner_on_async_ok(self, result):
        """Its result follows."""

    @ours
    def v2_runner_on_async_failed(self, result):
        """Its result follows."""

    @ours
    def v2_playbook_on_include(self, included_file):
        """What is included is shown as it runs."""

    @ours
    def v2_playbook_on_no_hosts_matched(self):
        self._screen.line(f"{self._page.title:<{steps.COLUMN}} {'':>8}  no hosts", C.COLOR_SKIP)

    @ours
    def v2_playbook_on_no_hosts_remaining(self):
        """The failures have told why."""

    # What is shown whole.

    def _tell(self, result):
        """What the play says on purpose."""
        if result._task.action not in C._ACTION_DEBUG:
            return
        self._clean_results(result._result, result._task.action)
        where = f"{self.host_label(result)}: " if self._page.many and not result._task.run_once else ""
        margin = "  " if self._page.headed else ""
        self._page.told = True
        title, told = f"{margin}{where}{result._task.get_name().strip()}", self._words.told(result._result)
        host = result._host.get_name()
        # A host that says the same again, as in a loop, says it.
        first = self._bodies.setdefault((result._task._uuid, *told), host)
        if first != host:
            self._screen.line(f"{title}: as on {first}")
            return
        self._screen.line(title)
        self._screen.line(textwrap.indent("\n".join(told), f"{margin}  "), C.COLOR_OK)

    def _spare(self, word, result):
        """A failure that is no end, in one line."""
        self._page.head()
        said = self._words.first_line(result._result)
        name = result._task.get_name().strip()
        self._screen.line(f"  {word}: [{self.host_label(result)}] {name}: {said}".rstrip(": "), C.COLOR_SKIP)

    def _fail(self, word, result, before):
        """All of a failure. What many hosts fail by is shown once."""
        self._page.head()
        task, host = result._task, self.host_label(result)
        name, path = task.get_name().strip(), words.short_path(task.get_path())
        body = self._words.failure(result, path)
        first = self._bodies.setdefault((task._uuid, *body), host)
        self._failures.append(f"{result._host.get_name()}: {name}" + (f" ({path})" if path else ""))
        lines = [f"fatal: [{host}]: {word} => {name}"]
        lines += [f"    {one}".rstrip() for one in (body if first == host else [f"as on {first}"])]
        stderr = self.get_option("display_failed_stderr")
        self._screen.line("\n".join(lines), C.COLOR_ERROR, stderr)
        if before:
            history = [f"    What ran before it on {result._host.get_name()}:", *(f"      {one}" for one in before)]
            self._screen.line("\n".join(history), stderr=stderr)

    def v2_playbook_on_stats(self, stats):
        if not self.all:
            self._end_play()
            self._screen.stop()
            self._sum_up()
        super().v2_playbook_on_stats(stats)

    def _sum_up(self):
        """How long it took and what failed, before the recap: what reads that expects it to be the last."""
        took = time.monotonic() - self._started
        slow = [one for one in sorted(self._page.over, reverse=True)[:3] if one[0] >= self.get_option("slow_seconds")]
        slowest = "; slowest: " + ", ".join(f"{label} ({steps.seconds(its)})" for its, label in slow) if slow else ""
        self._screen.line(f"Took {steps.seconds(took)}{slowest}")
        for failure in self._failures:
            self._screen.line(f"Failed  {failure}", C.COLOR_ERROR)
