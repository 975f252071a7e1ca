import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import tidemark.ApiClient;
import tidemark.ApiException;
import tidemark.ApiResponse;
import tidemark.api.PresenceApi;
import tidemark.api.SyncApi;
import tidemark.model.Edit;
import tidemark.model.EditResult;
import tidemark.model.Page;
import tidemark.model.Presence;
import tidemark.model.PresenceRequest;
import tidemark.model.Problem;
import tidemark.model.PushRequest;

/** The client that openapi-generator makes of openapi.yaml in Java, used against a running server. */
public final class Client {
    private static final String CLIENT_ID = "java";
    private static final List<String> COLLECTIONS = List.of("todos", "more");
    /** A version that no space has reached: as min_version it is of a history that the server does not have. */
    private static final long NEVER_REACHED = (1L << 53) - 1;

    private final String space = System.getenv("TIDEMARK_SPACE");
    private final ApiClient server = new ApiClient();
    private final SyncApi sync;
    private final PresenceApi presence;
    private String cursor = "";
    private String etag;

    private Client() {
        server.updateBaseUri(System.getenv("TIDEMARK_URL"));
        String token = System.getenv("TIDEMARK_TOKEN");
        server.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + token));
        sync = new SyncApi(server);
        presence = new PresenceApi(server);
    }

    private interface Scenario {
        void run() throws Exception;
    }

    public static void main(String[] args) {
        Client client = new Client();
        boolean well = tell("push", client::pushAndRetry);
        well &= tell("conflict", client::conflict);
        well &= tell("pull pages", client::pullPages);
        well &= tell("304", client::notModified);
        well &= tell("410", client::expired);
        well &= tell("presence", client::heartbeat);
        System.exit(well ? 0 : 1);
    }

    /** Runs a scenario, prints what came of it and returns whether it was as it should be. */
    private static boolean tell(String name, Scenario scenario) {
        try {
            scenario.run();
            System.out.println("ok " + name);
            return true;
        } catch (Exception | AssertionError error) {
            System.out.println("failed " + name + ": " + error.toString().replaceAll("\\s+", " "));
            return false;
        }
    }

    private static void ensure(boolean holds, Object what) {
        if (!holds) throw new AssertionError(String.valueOf(what));
    }

    private EditResult push(Edit edit) throws ApiException {
        List<EditResult> results = sync.pushEdits(space, new PushRequest().clientId(CLIENT_ID).addEditsItem(edit)).getResults();
        ensure(results.size() == 1, results);
        return results.get(0);
    }

    private static Edit create(String editId, String id, String title) {
        return new Edit().editId(editId).op(Edit.OpEnum.PUT).collection("todos").id(id).baseVersion(0L).data(Map.of("title", title));
    }

    private ApiResponse<Page> pull(Integer limit, Long minVersion, String ifNoneMatch) throws ApiException {
        return sync.pullChangesWithHttpInfo(space, cursor, limit, null, COLLECTIONS, minVersion, ifNoneMatch);
    }

    private void pushAndRetry() throws ApiException {
        EditResult first = push(create("e1", "t1", "Milk"));
        ensure(first.getStatus() == EditResult.StatusEnum.APPLIED, first);
        EditResult again = push(create("e1", "t1", "Milk"));
        ensure(again.equals(first.replayed(true)), again);
    }

    private void conflict() throws ApiException {
        EditResult late = push(create("e2", "t1", "Bread"));
        ensure(late.getStatus() == EditResult.StatusEnum.CONFLICT && late.getCurrent() != null, late);
        ensure(late.getCurrent().getEditId().equals("e1") && Map.of("title", "Milk").equals(late.getCurrent().getData()), late);
    }

    private void pullPages() throws ApiException {
        for (String id : List.of("t2", "t3")) push(create(id, id, id));
        List<String> ids = new ArrayList<>();
        int pages = 0;
        for (boolean more = true; more; pages++) {
            ApiResponse<Page> answer = pull(1, null, null);
            Page page = answer.getData();
            page.getChanges().forEach(change -> ids.add(change.getId()));
            cursor = page.getCursor();
            // What an HttpClient answers with finds headers in any case.
            etag = answer.getHeaders().get("ETag").get(0);
            more = page.getHasMore();
        }
        ensure(ids.equals(List.of("t1", "t2", "t3")) && pages >= 3, pages + " pages brought " + ids);
    }

    /** To this client whatever is not 2xx is an exception, a 304 too. */
    private void notModified() throws ApiException {
        Page quiet = pull(null, null, null).getData();
        ensure(quiet.getChanges().isEmpty(), quiet);
        try {
            ensure(false, pull(null, null, etag).getData());
        } catch (ApiException same) {
            ensure(same.getCode() == 304, same);
        }
    }

    private void expired() throws Exception {
        try {
            ensure(false, pull(null, NEVER_REACHED, null).getData());
        } catch (ApiException gone) {
            ensure(gone.getCode() == 410, gone);
            Problem problem = server.getObjectMapper().readValue(gone.getResponseBody(), Problem.class);
            ensure(problem.getCode().equals("cursor_expired") && problem.getCause().equals("epoch"), problem);
        }
    }

    private void heartbeat() throws ApiException {
        Map<String, Object> state = Map.of("looks_at", "todos/t1");
        List<Presence> present = presence.putPresence(space, CLIENT_ID, new PresenceRequest().state(state).ttlS(30)).getPresent();
        ensure(present.size() == 1, present);
        Presence me = present.get(0);
        ensure(me.getClientId().equals(CLIENT_ID) && me.getSubject().equals("alice") && me.getState().equals(state), me);
    }
}
