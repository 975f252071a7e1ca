package tidemark.sync

import tidemark.models.Change
import tidemark.models.Edit
import tidemark.models.EditResult
import tidemark.models.Page

/** A store for tests and to copy from. An app keeps the same in its database and makes each function a transaction. */
class MemoryStore(override val clientId: String, private val batch: Int = 200) : Store {
    private class Queued(val edit: Edit, var handedOut: Boolean = false)

    /** An edit that was not applied; without a result nobody knows what became of it. */
    class Problem(val edit: Edit, val result: EditResult?)

    private val queue = mutableListOf<Queued>()
    private val known = mutableMapOf<String, Change>()
    private val seen = mutableSetOf<String>()

    override var cursor: String? = null
    override var minVersion: Long? = null
        private set
    override var whole = false
        private set
    val problems = mutableListOf<Problem>()

    /** The live documents by id, without what is queued. */
    val documents get() = known.values.filterNot { it.deleted }.associate { it.id to it.data }
    val queued get() = queue.map { it.edit.editId }

    fun version(collection: String, id: String) = known[key(collection, id)]?.version ?: 0

    /** Damages the store, as a fault of an app would. */
    fun lose(collection: String, id: String) = known.remove(key(collection, id))

    fun add(edit: Edit) {
        queue += Queued(edit)
    }

    override fun nextPush(): List<Edit> {
        val unanswered = queue.filter { it.handedOut }
        return unanswered.ifEmpty { queue.take(batch).onEach { it.handedOut = true } }.map { it.edit }
    }

    override fun take(edits: List<Edit>, results: List<EditResult>, page: Page) {
        edits.zip(results).forEach { (edit, result) -> settle(edit, result.takeIf { it.status != EditResult.Status.applied }, result) }
        page.changes.forEach { change ->
            seen += key(change.collection, change.id)
            show(change)
        }
        cursor = page.cursor
        if (edits.isNotEmpty()) minVersion = page.version
        if (!whole && !page.hasMore) endSnapshot()
    }

    private fun settle(edit: Edit, failure: EditResult?, result: EditResult? = failure) {
        queue.removeAll { it.edit.editId == edit.editId }
        if (failure != null) problems += Problem(edit, failure)
        result?.current?.let(::show)
    }

    private fun show(change: Change) {
        if (change.version > version(change.collection, change.id)) known[key(change.collection, change.id)] = change
    }

    private fun endSnapshot() {
        val waiting = queue.map { key(it.edit.collection, it.edit.id) }
        known.keys.retainAll(seen + waiting)
        val applied = known.filterKeys { it in seen }.values.filter { it.clientId == clientId }.map { it.editId }
        queue.filter { it.handedOut }.forEach { lost ->
            queue.remove(lost)
            if (lost.edit.editId !in applied) problems += Problem(lost.edit, null)
        }
        whole = true
    }

    override fun holds(digest: String, count: Long): Boolean {
        val live = known.values.filterNot { it.deleted }
        val sum = live.sumOf { digest(it.collection, it.id, it.version) }
        return live.size.toLong() == count && "%016x".format(sum) == digest
    }

    override fun startAgain() {
        cursor = null
        minVersion = null
        whole = false
        seen.clear()
    }

    private fun key(collection: String, id: String) = "$collection/$id"
}
