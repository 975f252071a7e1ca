"""The client that openapi-generator makes of openapi.yaml in Python, used against a running server."""

import os
import sys

from tidemark import ApiClient, ApiException, Configuration, Edit, PresenceApi, PresenceRequest, PushRequest, SyncApi

CLIENT_ID = "python"
COLLECTIONS = ["todos", "more"]
# A version that no space has reached: as min_version it is of a history that the server does not have.
NEVER_REACHED = 2**53 - 1

space = os.environ["TIDEMARK_SPACE"]
api = ApiClient(Configuration(host=os.environ["TIDEMARK_URL"], access_token=os.environ["TIDEMARK_TOKEN"]))
sync = SyncApi(api)
presence = PresenceApi(api)

# How far the pull came.
cursor = ""


def push(edit):
    [result] = sync.push_edits(space, PushRequest(client_id=CLIENT_ID, edits=[edit])).results
    return result


def create(edit_id, id, title):
    return Edit(edit_id=edit_id, op="put", collection="todos", id=id, base_version=0, data={"title": title})


def push_and_retry():
    first = push(create("e1", "t1", "Milk"))
    assert first.status == "applied", first
    again = push(create("e1", "t1", "Milk"))
    assert again == first.model_copy(update={"replayed": True}), again


def conflict():
    late = push(create("e2", "t1", "Bread"))
    assert late.status == "conflict", late
    assert (late.current.edit_id, late.current.data) == ("e1", {"title": "Milk"}), late.current


def pull_pages():
    global cursor
    for id in ["t2", "t3"]:
        push(create(id, id, id))
    ids, pages, more = [], 0, True
    while more:
        page = sync.pull_changes(space, cursor=cursor, limit=1, collections=COLLECTIONS)
        ids += [change.id for change in page.changes]
        cursor, more = page.cursor, page.has_more
        pages += 1
    assert ids == ["t1", "t2", "t3"] and pages >= 3, (ids, pages)


def not_modified():
    """
    To this client whatever is not 2xx is an exception, a 304 too. Its headers are a plain dict, in which case matters; but
    the ETag of a page is its cursor in quotes.
    """
    quiet = sync.pull_changes(space, cursor=cursor, collections=COLLECTIONS)
    assert quiet.changes == [], quiet
    try:
        page = sync.pull_changes(space, cursor=cursor, collections=COLLECTIONS, if_none_match=f'"{cursor}"')
    except ApiException as same:
        assert same.status == 304, same
    else:
        raise AssertionError(page)


def expired():
    try:
        page = sync.pull_changes(space, cursor=cursor, collections=COLLECTIONS, min_version=NEVER_REACHED)
    except ApiException as gone:
        assert gone.status == 410, gone
        assert (gone.data.code, gone.data.cause) == ("cursor_expired", "epoch"), gone.data
    else:
        raise AssertionError(page)


def heartbeat():
    state = {"looks_at": "todos/t1"}
    [me] = presence.put_presence(space, CLIENT_ID, presence_request=PresenceRequest(state=state, ttl_s=30)).present
    assert (me.client_id, me.subject, me.state) == (CLIENT_ID, "alice", state), me


def main():
    well = True
    for name, run in [
        ("push", push_and_retry),
        ("conflict", conflict),
        ("pull pages", pull_pages),
        ("304", not_modified),
        ("410", expired),
        ("presence", heartbeat),
    ]:
        try:
            run()
            print(f"ok {name}")
        except Exception as error:  # whatever it is, it is what became of this scenario
            well = False
            why = " ".join(f"{type(error).__name__} {error}".split())
            print(f"failed {name}: {why}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
