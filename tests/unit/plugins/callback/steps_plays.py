"""The project whose plays the tests of the callback `steps` look at."""

from __future__ import annotations

ROLE = """\
- name: Check
  ansible.builtin.include_tasks: check.yml
- name: network | Make the network
  ansible.builtin.command: sleep 3
- name: network | Check it
  ansible.builtin.command: "true"
  changed_when: false
- name: configure | Write the file
  ansible.builtin.copy:
    content: "new\\n"
    dest: "{{ place }}/file"
    mode: "0600"
  notify: Reload
- name: inner | Call another role
  ansible.builtin.import_role:
    name: inner
"""

MAKE = """\
- name: Make it
  hosts: localhost
  gather_facts: false
  roles: [outer]
"""

GOOD = f"""\
{MAKE}
- name: Odds and ends
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Fail on purpose
      ansible.builtin.command: "false"
      ignore_errors: true
    - block:
        - name: Fail and be helped
          ansible.builtin.fail:
            msg: |-
              The first line.
              The second line.
      rescue:
        - name: Help
          ansible.builtin.set_fact: {{helped: true}}
    - name: Say nothing of it
      ansible.builtin.command: echo hunter2
      no_log: true
    - name: Go on beside it
      ansible.builtin.command: "true"
      async: 20
      poll: 1
      changed_when: false
    - name: Say all of them
      ansible.builtin.debug: {{msg: "told {{{{ item }}}}"}}
      loop: [one, two]

- name: Nobody
  hosts: all:!all
  tasks: [{{name: Never, ansible.builtin.command: "false"}}]

- name: Say what there is
  hosts: localhost
  gather_facts: false
  tasks:
    - name: The summary
      ansible.builtin.debug:
        msg: ["Address     https://host:5000", "Users       ci"]
"""

FLEET = """\
- name: On their own ways
  hosts: fleet
  gather_facts: false
  strategy: free
  tasks:
    - name: walk | Take time
      ansible.builtin.command: "sleep 0.{{ groups['fleet'].index(inventory_hostname) }}"
    - name: rest | Take none
      ansible.builtin.set_fact: {rested: true}
      changed_when: inventory_hostname in ['h1', 'h2']

- name: In batches
  hosts: fleet
  gather_facts: false
  serial: [1, "100%"]
  tasks:
    - name: Tell all the same
      ansible.builtin.debug: {msg: all the same}
    - name: Once, elsewhere
      ansible.builtin.set_fact: {once: true}
      run_once: true
      delegate_to: localhost

- name: Break
  hosts: fleet:gone
  gather_facts: false
  vars:
    wrong: "{{ nowhere }}"
  tasks:
    - name: break | Reach them
      ansible.builtin.command: "true"
      changed_when: inventory_hostname == 'h1'
    - name: break | A loop
      ansible.builtin.command: "{{ item }}"
      loop: ["true", "false", "sh -c 'echo said >&2; exit 3'"]
      when: inventory_hostname == 'h1'
    - name: break | A secret
      ansible.builtin.command: sh -c 'echo hunter2; exit 1'
      no_log: true
      when: inventory_hostname == 'h2'
    - name: break | A value
      ansible.builtin.command: "echo {{ wrong }}"
      when: inventory_hostname == 'h3'
    - name: break | A cure
      ansible.builtin.fail:
        msg: |-
          It does not answer.
          Check the log, and start it.
      when: inventory_hostname in ['h4', 'h5']
"""

SMALL = """\
- name: Make little
  hosts: localhost
  gather_facts: false
  tasks:
    - name: note | Write it
      ansible.builtin.set_fact: {noted: true}
      changed_when: true
"""

INVENTORY = """\
all:
  vars: {{ansible_connection: local, ansible_python_interpreter: "{python}"}}
  hosts:
    localhost:
    gone: {{ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1, ansible_pipelining: false}}
  children:
    fleet: {{hosts: {{h1: , h2: , h3: , h4: , h5: }}}}
"""


def files(python):
    """The files of the project, by their paths. All of its hosts are this one, where modules run on that Python."""
    return {
        "inventory.yml": INVENTORY.format(python=python),
        "make.yml": MAKE,
        "good.yml": GOOD,
        "fleet.yml": FLEET,
        "small.yml": SMALL,
        "roles/outer/tasks/main.yml": ROLE,
        "roles/outer/tasks/check.yml": "- name: check | Look\n  ansible.builtin.set_fact: {looked: true}\n",
        "roles/outer/handlers/main.yml": '- name: Reload\n  ansible.builtin.command: "true"\n',
        "roles/inner/tasks/main.yml": '- name: pull | Get it\n  ansible.builtin.command: "true"\n',
    }
