package tidemark.sync

import java.io.IOException
import kotlin.random.Random
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource
import tidemark.apis.SyncApi
import tidemark.infrastructure.ApiResponse
import tidemark.infrastructure.ClientError
import tidemark.infrastructure.Serializer
import tidemark.infrastructure.Success
import tidemark.models.Edit
import tidemark.models.EditResult
import tidemark.models.Page
import tidemark.models.Problem
import tidemark.models.PushRequest
import tidemark.models.PushResponse

/** What the app keeps of one space, in one database, so that it is still there when the system starts the next run. */
interface Store {
    /** Names this device, for as long as its database lives. */
    val clientId: String

    /** Where to go on, or null for a snapshot. */
    val cursor: String?

    /** The newest version that a push was answered with, which no later answer may be behind; null if there was none. */
    val minVersion: Long?

    /** False until a snapshot was taken in to its end. Edits wait for that. */
    val whole: Boolean

    /**
     * The edits to push. Those that were handed out before and not settled are handed out again, exactly them, because
     * they may have been applied. If there are none: the oldest, at most 200 and together well below 1 MiB, from now on
     * remembered as handed out.
     */
    fun nextPush(): List<Edit>

    /**
     * Takes in an answer, in one transaction: settles each edit by its result (whatever is not `applied` is the app's to
     * show), takes those changes that are newer than what is there, and keeps the cursor and, if there are edits, the
     * page's version as `minVersion`. Where a snapshot ends (`whole`
     * is false, and so is `hasMore`) it drops what the snapshot did not bring and has no edits, and settles those that
     * were handed out: an edit whose id the snapshot shows was applied, any other is handed back to the app.
     */
    fun take(edits: List<Edit>, results: List<EditResult>, page: Page)

    /** Whether so many live documents are there and the sum of their `digest` is this, in 16 hexadecimal digits. */
    fun holds(digest: String, count: Long): Boolean

    /** From now on `cursor` and `minVersion` are null and `whole` is false. Documents and edits stay. */
    fun startAgain()
}

/** What a live document adds to the digest of its space. */
fun digest(collection: String, id: String, version: Long): Long {
    var h = 0xcbf29ce484222325uL
    for (byte in "$collection\u0000$id\u0000$version".encodeToByteArray()) h = (h xor byte.toUByte().toULong()) * 0x100000001b3uL
    h = (h xor (h shr 33)) * 0xff51afd7ed558ccduL
    h = (h xor (h shr 33)) * 0xc4ceb9fe1a85ec53uL
    return (h xor (h shr 33)).toLong()
}

sealed interface Outcome {
    /** All is pushed and pulled. In the foreground do it again after so long; a 304 does not say. */
    data class Done(val pollAfter: Duration?) : Outcome

    /** Not all, for want of time or of the server. What was done is kept; go on in the next run. */
    data object Later : Outcome

    /** The new token was refused as well: a person has to sign in. */
    data object SignedOut : Outcome

    /** What is held is not what the server says it is, and was not after a new snapshot either: a fault to report. */
    data object Diverged : Outcome

    /** The server does not take the request; the next run would fare no better. */
    data class Refused(val problem: Problem?) : Outcome
}

/**
 * Pushes what is queued and pulls what is new, page by page, until there is neither or the budget is spent. It blocks, so
 * it belongs on a thread of its own, as those of WorkManager are. One run at a time for a store.
 *
 * A push carries the cursor. So it is answered with a page, and if the cursor has expired it is refused before anything
 * is applied: of a client that was away for so long, the server may no longer know which edits it has seen.
 */
fun sync(
    api: SyncApi,
    space: String,
    store: Store,
    token: (refresh: Boolean) -> String,
    budget: Duration = 9.minutes,
    stopped: () -> Boolean = { false },
    limit: Int = 500,
    pause: (Duration) -> Unit = { Thread.sleep(it.inWholeMilliseconds) },
): Outcome {
    val end = TimeSource.Monotonic.markNow() + budget
    var done: Outcome.Done? = null
    var failures = 0
    var refreshed = false
    var mended = false
    var bearer = token(false)
    api.accessTokenProvider = { bearer }
    while (!stopped() && end.hasNotPassedNow()) {
        val edits = if (store.whole) store.nextPush() else emptyList()
        if (edits.isEmpty() && done != null) return done
        val answer = try {
            if (edits.isEmpty()) pull(api, space, store, limit) else push(api, space, store, limit, edits)
        } catch (_: IOException) {
            null // Nobody knows how far the request came. It is sent again as it was.
        } catch (_: UnsupportedOperationException) {
            null // No JSON: somebody else's answer, such as the page of a Wi-Fi that wants a sign-in.
        }
        when (answer?.statusCode) {
            200 -> {
                val (results, page) = contents(answer)
                store.take(edits, results, page)
                done = if (page.hasMore) null else Outcome.Done(page.pollAfterMs.milliseconds)
                failures = 0
                if (page.digest != null && !store.holds(page.digest, page.count!!)) {
                    if (mended) return Outcome.Diverged
                    mended = true
                    store.startAgain()
                    done = null
                }
            }
            304 -> return Outcome.Done(null)
            401 -> {
                if (refreshed) return Outcome.SignedOut
                refreshed = true
                bearer = token(true)
            }
            410 -> {
                store.startAgain()
                done = null
            }
            null, 408, 429, in 500..599 -> {
                val wait = answer?.headers?.get("retry-after")?.first()?.toIntOrNull()?.seconds ?: backoff(failures++)
                if ((end - wait).hasPassedNow()) return Outcome.Later
                pause(wait)
            }
            else -> return Outcome.Refused(problem(answer))
        }
    }
    return Outcome.Later
}

/** The ETag of a page is its cursor in quotes: with nothing new the answer is a 304, which costs next to nothing. */
private fun pull(api: SyncApi, space: String, store: Store, limit: Int): ApiResponse<*> =
    api.pullChangesWithHttpInfo(space, store.cursor, limit, null, null, store.minVersion, store.cursor?.let { "\"$it\"" })

private fun push(api: SyncApi, space: String, store: Store, limit: Int, edits: List<Edit>): ApiResponse<*> =
    api.pushEditsWithHttpInfo(space, PushRequest(store.clientId, edits, cursor = store.cursor, limit = limit))

private fun contents(answer: ApiResponse<*>): Pair<List<EditResult>, Page> =
    when (val data = (answer as Success<*>).data) {
        is PushResponse -> data.results to
            Page(data.changes!!, data.cursor!!, data.version, data.hasMore!!, data.pollAfterMs, digest = data.digest, count = data.count)
        else -> emptyList<EditResult>() to data as Page
    }

/** Anywhere up to 1, 2, 4 … 60 seconds, so that clients that failed together do not come back together. */
private fun backoff(failures: Int): Duration = minOf(60.seconds, (1 shl minOf(failures, 6)).seconds) * Random.nextDouble()

private fun problem(answer: ApiResponse<*>): Problem? =
    runCatching { Serializer.moshi.adapter(Problem::class.java).fromJson((answer as ClientError<*>).body as String) }.getOrNull()
