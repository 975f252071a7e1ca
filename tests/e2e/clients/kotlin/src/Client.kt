package tidemark.sync

import java.io.IOException
import kotlin.system.exitProcess
import kotlin.time.Duration
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import okhttp3.Interceptor
import okhttp3.MediaType.Companion.toMediaType
import okhttp3.OkHttpClient
import okhttp3.Protocol
import okhttp3.Response
import okhttp3.ResponseBody.Companion.toResponseBody
import tidemark.apis.PresenceApi
import tidemark.apis.SyncApi
import tidemark.infrastructure.ApiClient
import tidemark.infrastructure.ApiResponse
import tidemark.infrastructure.ClientError
import tidemark.infrastructure.Serializer
import tidemark.infrastructure.Success
import tidemark.models.Edit
import tidemark.models.EditResult
import tidemark.models.Page
import tidemark.models.PresenceRequest
import tidemark.models.Problem
import tidemark.models.PushRequest

// The client that openapi-generator makes of openapi.yaml in Kotlin, and `sync` on top of it, used against a running server.

private const val CLIENT_ID = "kotlin"
private val collections = listOf("todos", "more")

/** A version that no space has reached: as min_version it is of a history that the server does not have. */
private const val NEVER_REACHED = (1L shl 53) - 1

private val url = System.getenv("TIDEMARK_URL")
private val token = System.getenv("TIDEMARK_TOKEN")
private val space = System.getenv("TIDEMARK_SPACE")
private val server = SyncApi(url)
private var cursor = ""

fun main() {
    ApiClient.accessToken = token
    val well = listOf(
        tell("push", ::pushAndRetry),
        tell("conflict", ::conflict),
        tell("pull pages", ::pullPages),
        tell("304", ::notModified),
        tell("410", ::expired),
        tell("presence", ::heartbeat),
        tell("background sync") {
            offlineEdits()
            pagesAndNothingNew()
            faults()
            cursorExpired()
            divergence()
            endings()
        },
    )
    exitProcess(if (well.all { it }) 0 else 1)
}

/** Runs a scenario, prints what came of it and returns whether it was as it should be. */
private fun tell(name: String, run: () -> Unit): Boolean {
    val failure = runCatching(run).exceptionOrNull()
    println(if (failure == null) "ok $name" else "failed $name: " + "$failure ${failure.stackTrace.find { it.fileName == "Client.kt" && it.methodName != "same" }}".replace(Regex("\\s+"), " "))
    return failure == null
}

private fun <T> same(want: T, got: T) = check(want == got) { "want $want, got $got" }

private fun create(editId: String, id: String, title: String) =
    Edit(editId, Edit.Op.put, "todos", id, baseVersion = 0, data = mapOf("title" to title))

private fun push(edit: Edit) = server.pushEdits(space, PushRequest(CLIENT_ID, listOf(edit))).results.single()

private fun pull(limit: Int? = null, minVersion: Long? = null, ifNoneMatch: String? = null): ApiResponse<Page?> =
    server.pullChangesWithHttpInfo(space, cursor, limit, null, collections, minVersion, ifNoneMatch)

private fun page(answer: ApiResponse<*>) = (answer as Success<*>).data as Page

private fun pushAndRetry() {
    val first = push(create("e1", "t1", "Milk"))
    same(EditResult.Status.applied, first.status)
    same(first.copy(replayed = true), push(create("e1", "t1", "Milk")))
}

private fun conflict() {
    val late = push(create("e2", "t1", "Bread"))
    same(EditResult.Status.conflict, late.status)
    same("e1", late.current?.editId)
    same(mapOf("title" to "Milk"), late.current?.data)
}

private fun pullPages() {
    for (id in listOf("t2", "t3")) push(create(id, id, id))
    val ids = mutableListOf<String>()
    var pages = 0
    do {
        val page = page(pull(limit = 1))
        ids += page.changes.map { it.id }
        cursor = page.cursor
        pages++
    } while (page.hasMore)
    same(listOf("t1", "t2", "t3"), ids)
    check(pages >= 3) { "$pages pages" }
}

/** OkHttp does not count a 304 among the redirections, so this client calls it a ServerError: go by the status. */
private fun notModified() {
    same(emptyList(), page(pull()).changes)
    same(304, pull(ifNoneMatch = "\"$cursor\"").statusCode)
}

private fun expired() {
    val gone = pull(minVersion = NEVER_REACHED) as ClientError<*>
    same(410, gone.statusCode)
    val problem = Serializer.moshi.adapter(Problem::class.java).fromJson(gone.body as String)
    same("cursor_expired" to "epoch", problem?.code to problem?.cause)
}

private fun heartbeat() {
    val state = mapOf("looks_at" to "todos/t1")
    val me = PresenceApi(url).putPresence(space, CLIENT_ID, PresenceRequest(state, 30)).present.single()
    same(Triple(CLIENT_ID, "alice", state), Triple(me.clientId, me.subject, me.state))
}

// Of sync: what it does with a store, and on a network that is in the way.

/** What happens to the next requests, one each; those after them reach the server. Notes what was asked and answered. */
private class Network : Interceptor {
    val faults = ArrayDeque<(Interceptor.Chain) -> Response>()
    val log = mutableListOf<String>()

    override fun intercept(chain: Interceptor.Chain): Response {
        val what = if (chain.request().method == "POST") "push" else "pull"
        val fault = faults.removeFirstOrNull()
        return try {
            (if (fault == null) chain.proceed(chain.request()) else fault(chain)).also { log += "$what ${it.code}" }
        } catch (lost: IOException) {
            log += "$what lost"
            throw lost
        }
    }
}

private val noWay = { _: Interceptor.Chain -> throw IOException("no network") }
private val answerLost = { chain: Interceptor.Chain ->
    chain.proceed(chain.request()).close()
    throw IOException("the answer was lost")
}

private fun answer(code: Int, type: String, body: String, vararg headers: Pair<String, String>) = { chain: Interceptor.Chain ->
    Response.Builder().request(chain.request()).protocol(Protocol.HTTP_1_1).code(code).message("")
        .apply { headers.forEach { (name, value) -> header(name, value) } }.body(body.toResponseBody(type.toMediaType())).build()
}

private class Device(name: String, val space: String, batch: Int = 200) {
    val store = MemoryStore(name, batch)
    val network = Network()
    val pauses = mutableListOf<Duration>()
    val api = SyncApi(url, OkHttpClient.Builder().addInterceptor(network).build())

    /** Syncs, and is stopped by the system at the pause of that number if there is one. */
    fun sync(budget: Duration = 9.minutes, limit: Int = 500, stopAt: Int? = null, token: (Boolean) -> String = { tidemark.sync.token }): Outcome {
        network.log.clear()
        pauses.clear()
        return sync(api, space, store, token, budget, { pauses.size == stopAt }, limit) { pauses += it }
    }

    fun upToDate() {
        val outcome = sync()
        check(outcome is Outcome.Done) { "$outcome after ${network.log}" }
        same(emptyList(), store.queued)
    }

    fun patch(editId: String, id: String, vararg fields: Pair<String, Any>, on: String? = null) = store.add(
        Edit(editId, Edit.Op.patch, "todos", id, baseVersion = if (on == null) store.version("todos", id) else null, baseEditId = on, data = mapOf(*fields)),
    )
}

private fun offlineEdits() {
    val (phone, tablet) = listOf(Device("phone", "$space-1", batch = 2), Device("tablet", "$space-1"))
    phone.store.add(create("p1", "a", "Milk"))
    phone.patch("p2", "a", "done" to true, on = "p1")
    phone.store.add(create("p3", "b", "Bread"))
    phone.upToDate()
    same(listOf("pull 200", "push 200", "push 200"), phone.network.log)
    tablet.upToDate()
    same(mapOf("a" to mapOf("title" to "Milk", "done" to true), "b" to mapOf("title" to "Bread")), tablet.store.documents)

    // Both are offline. Other fields merge, the same field is a conflict, a delete of what was changed too.
    phone.patch("p4", "a", "title" to "Oat milk")
    phone.patch("p5", "b", "title" to "Rye bread")
    tablet.patch("t1", "a", "done" to false)
    tablet.patch("t2", "b", "title" to "White bread")
    phone.upToDate()
    tablet.upToDate()
    val conflict = tablet.store.problems.single()
    same("t2" to EditResult.Status.conflict, conflict.edit.editId to conflict.result?.status)
    same(mapOf("title" to "Rye bread"), conflict.result?.current?.data)
    phone.upToDate()
    same(mapOf("a" to mapOf("title" to "Oat milk", "done" to false), "b" to mapOf("title" to "Rye bread")), phone.store.documents)
    same(phone.store.documents, tablet.store.documents)

    phone.store.add(Edit("p6", Edit.Op.delete, "todos", "b", baseVersion = phone.store.version("todos", "b")))
    phone.upToDate()
    tablet.upToDate()
    same(setOf("a"), tablet.store.documents.keys)
}

private fun pagesAndNothingNew() {
    val (phone, tablet) = listOf(Device("phone", "$space-2", batch = 1), Device("tablet", "$space-2"))
    for (i in 1..7) phone.store.add(create("p$i", "d$i", "document $i"))
    phone.upToDate()
    check(tablet.sync(limit = 2) is Outcome.Done)
    same(List(4) { "pull 200" }, tablet.network.log)
    same(7, tablet.store.documents.size)
    same(phone.store.documents, tablet.store.documents)
    same(Outcome.Done(null), tablet.sync())
    same(listOf("pull 304"), tablet.network.log)
}

private fun faults() {
    val phone = Device("phone", "$space-3")
    phone.upToDate()

    // The edit was applied and the answer lost: it is sent again, alone, and counts once.
    phone.store.add(create("p1", "a", "Milk"))
    phone.network.faults += answerLost
    phone.network.faults += { chain -> phone.store.add(create("p2", "b", "Bread")); noWay(chain) }
    phone.upToDate()
    same(listOf("push lost", "push lost", "push 200", "push 200"), phone.network.log)
    same(emptyList(), phone.store.problems)
    same(setOf("a", "b"), phone.store.documents.keys)
    check(phone.pauses.size == 2 && phone.pauses.all { it in Duration.ZERO..2.seconds }) { "pauses ${phone.pauses}" }

    // Pauses grow, and Retry-After wins over them.
    phone.patch("p3", "a", "done" to true)
    val busy = answer(503, "application/problem+json", "{}", "Retry-After" to "7")
    repeat(3) { phone.network.faults += noWay }
    phone.network.faults += busy
    phone.network.faults += answer(200, "text/html", "<h1>Welcome to the hotel</h1>")
    phone.upToDate()
    same(listOf("push lost", "push lost", "push lost", "push 503", "push 200", "push 200"), phone.network.log)
    same(7.seconds, phone.pauses[3])
    phone.pauses.forEachIndexed { i, pause -> check(pause == 7.seconds || pause <= (1 shl i).seconds) { "pauses ${phone.pauses}" } }
}

private fun cursorExpired() {
    val (phone, tablet) = listOf(Device("phone", "$space-4"), Device("tablet", "$space-4"))
    for (id in listOf("a", "b", "c")) phone.store.add(create("p-$id", id, id))
    phone.upToDate()
    tablet.upToDate()

    // The phone pushes an edit, never hears what became of it, and is away while a document is deleted.
    phone.patch("p1", "a", "done" to true)
    phone.network.faults += answerLost
    same(Outcome.Later, phone.sync(stopAt = 1))
    same(listOf("p1"), phone.store.queued)
    tablet.upToDate()
    tablet.store.add(Edit("t1", Edit.Op.delete, "todos", "b", baseVersion = tablet.store.version("todos", "b")))
    tablet.upToDate()
    phone.store.add(create("p2", "d", "d"))

    // A cursor of another filter is as expired as one of a history that was lost.
    phone.store.cursor = phone.api.pullChanges(phone.space, collections = listOf("todos")).cursor
    phone.upToDate()
    same(listOf("push 410", "pull 200", "push 200"), phone.network.log)
    same(emptyList(), phone.store.problems)
    same(setOf("a", "c", "d"), phone.store.documents.keys)

    // An edit that was handed out and that the snapshot does not show comes back to the app.
    phone.patch("p3", "c", "done" to true)
    phone.store.nextPush()
    phone.store.cursor = phone.api.pullChanges(phone.space, collections = listOf("todos")).cursor
    phone.upToDate()
    same(listOf("p3"), phone.store.problems.map { it.edit.editId })
    tablet.upToDate()
    same(phone.store.documents, tablet.store.documents)
}

/** A store that has lost a document finds out by the digest of the next page, and that a snapshot did not help, too. */
private fun divergence() {
    same(0x4a6f2e4890b8574b, digest("todos", "t1", 1))
    same("fc760bb4cd6f45f2", "%016x".format(digest("todos", "t2", 1795428004000000)))
    same("8fa43b55129d7e40", "%016x".format(digest("a", "b:c.d_e-f", 9007199254740991)))

    val (phone, tablet) = listOf(Device("phone", "$space-6"), Device("tablet", "$space-6"))
    for (id in listOf("a", "b")) phone.store.add(create("p-$id", id, id))
    phone.upToDate()
    phone.store.lose("todos", "a")
    tablet.upToDate()
    tablet.patch("t1", "b", "done" to true)
    tablet.upToDate()
    phone.upToDate()
    same(listOf("pull 200", "pull 200"), phone.network.log)
    same(setOf("a", "b"), phone.store.documents.keys)
    same(tablet.store.documents, phone.store.documents)

    val wrong = """{"changes":[],"cursor":"c","version":1,"has_more":false,"digest":"0123456789abcdef","count":7,"poll_after_ms":1000}"""
    repeat(2) { phone.network.faults += answer(200, "application/json", wrong) }
    same(Outcome.Diverged, phone.sync())
}

private fun endings() {
    val phone = Device("phone", "$space-5")
    same(Outcome.SignedOut, phone.sync { "no token" })
    val refreshed = phone.sync { refresh -> if (refresh) token else "an old token" }
    check(refreshed is Outcome.Done) { "$refreshed" }
    same(listOf("pull 401", "pull 200"), phone.network.log)

    phone.store.add(create("p1", "a", "Milk"))
    repeat(100) { phone.network.faults += noWay }
    phone.network.faults[0] = answer(429, "application/problem+json", "{}", "Retry-After" to "60")
    same(Outcome.Later, phone.sync(budget = 30.seconds))
    same(listOf("p1"), phone.store.queued)
    phone.network.faults.clear()
    phone.upToDate()

    val refused = Device("phone", "not-ours").sync()
    same("space_not_found", (refused as Outcome.Refused).problem?.code)
}
