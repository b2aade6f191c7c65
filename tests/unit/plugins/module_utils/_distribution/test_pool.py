"""Many requests at once: their order, their first error, and how many connections they take."""

from __future__ import annotations

import itertools
import time

import pytest
from ansible_collections.wharf.registry.plugins.module_utils._distribution.pool import Pool
from api_answers import CATALOGUE, DIGEST, LATEST, as_json, challenge, make_api, manifest
from inprocess import run_module


def test_a_pool_keeps_the_order_and_ends_at_the_first_error(server):
    server.answer(LATEST, manifest())
    with Pool(lambda: make_api(server), 4) as pool:
        assert list(pool.map(lambda api, number: (api.head("a/b", "1.0").digest, number), range(40))) == [
            (DIGEST, number) for number in range(40)
        ]
    assert server.connections <= 4
    with Pool(lambda: make_api(server), 4) as pool, pytest.raises(ZeroDivisionError):
        list(pool.map(lambda _api, number: 1 // (number - 3), range(1000)))


@pytest.mark.parametrize(
    "kind", [list, dict, lambda: range(0), lambda: iter([]), lambda: lambda _client: []], ids=range(5)
)
def test_a_pool_ends_where_nothing_comes(kind):
    items = kind()
    with Pool(NoClient, 4) as pool:
        assert list(pool.map(lambda _client, item: item, items)) == []


class NoClient:
    def open(self):
        """Has nothing to open."""

    def close(self):
        """Has nothing to close."""


def test_a_pool_gives_the_error_of_the_first_item_that_has_one():
    def late(_api, number):
        # The later ones fail before it.
        time.sleep(0.05 if number == 5 else 0)
        if number >= 5:
            raise ValueError(number)
        return number

    with Pool(NoClient, 4) as pool:
        results = pool.map(late, range(100))
        assert list(itertools.islice(results, 5)) == [0, 1, 2, 3, 4]
        with pytest.raises(ValueError, match="5"):
            next(results)


def test_a_pool_gives_the_error_of_the_items_and_of_the_clients():
    def numbers():
        yield from range(7)
        raise ValueError("no more")

    def no_client():
        raise ValueError("no client")

    for _attempt in range(20):
        with Pool(NoClient, 4) as pool:
            results = pool.map(lambda _api, number: number, numbers())
            assert list(itertools.islice(results, 7)) == list(range(7))
            with pytest.raises(ValueError, match="no more"):
                next(results)
    with Pool(NoClient, 4) as pool, pytest.raises(ValueError, match="no more"):
        list(pool.map(lambda _api, number: number, lambda _client: numbers()))
    for items in ([1, 2], iter([1, 2]), lambda _client: [1, 2]):
        with Pool(no_client, 4) as pool, pytest.raises(ValueError, match="no client"):
            list(pool.map(lambda _api, number: number, items))


def test_a_pool_ends_where_the_first_client_can_not_be_made():
    made = []

    def one_fails():
        made.append(1)
        if len(made) == 1:
            time.sleep(0.1)
            raise ValueError("no client")
        return NoClient()

    with Pool(one_fails, 4) as pool, pytest.raises(ValueError, match="no client"):
        list(pool.map(lambda _api, number: number, lambda _client: [1]))


def test_maps_of_a_pool_at_the_same_time_do_not_share_a_client(server):
    server.answer(LATEST, manifest())

    def look(api, number):
        used = api.in_use = getattr(api, "in_use", 0) + 1
        digest = api.head("a/b", "1.0").digest
        assert api.in_use == used
        return digest, number

    with Pool(lambda: make_api(server), 3) as pool:
        both = list(zip(pool.map(look, range(30)), pool.map(look, iter(range(30))), strict=True))
    assert both == [((DIGEST, number), (DIGEST, number)) for number in range(30)]


def test_a_pool_works_ahead_by_a_few_only():
    taken = []

    def numbers():
        for number in range(10000):
            taken.append(number)
            yield number

    with Pool(NoClient, 2) as pool:
        results = pool.map(lambda _api, number: number, numbers())
        assert next(results) == 0
        assert len(taken) <= 8
        results.close()


def test_connections_share_a_login(server):
    names = [f"a/{number}" for number in range(40)]

    def guarded(answer):
        def ask_who(request, connection):
            return (answer if "authorization" in request.headers else challenge())(request, connection)

        return ask_who

    server.answer(f"{CATALOGUE}?n=1000", guarded(as_json({"repositories": names})))
    for name in names:
        server.answer(f"/v2/{name}/tags/list", guarded(as_json({"tags": ["1.0"]})))
    result = run_module(
        "registry_info", {"registry": server.netloc, "plain_http": True, "username": "ci", "password": "geheim"}
    )
    assert [repository["name"] for repository in result["repositories"]] == sorted(names)
    assert server.connections > 1
    assert sum("authorization" not in request.headers for request in server.requests) == 1
