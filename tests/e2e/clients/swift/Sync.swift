// `sync` for iOS, the same as kotlin/src/Sync.kt: what is said there is not said again here. There is no Swift compiler
// where this is tested: this file is parsed, and what it calls is looked up in the generated client (inspect.mjs).

import Foundation
import Tidemark

/// What the app keeps of one space, in one database, so that it is still there when the system starts the next run.
public protocol Store: Sendable {
    /// Names this device, for as long as its database lives.
    var clientId: String { get }

    /// Where to go on, or nil for a snapshot; the newest version that a push was answered with, which no later answer may
    /// be behind; and false until a snapshot was taken in to its end. Edits wait for that.
    func position() async throws -> (cursor: String?, minVersion: Int64?, whole: Bool)

    /// The edits to push. Those that were handed out before and not settled are handed out again, exactly them, because
    /// they may have been applied. If there are none: the oldest, at most 200 and together well below 1 MiB, from now on
    /// remembered as handed out.
    func nextPush() async throws -> [Edit]

    /// Takes in an answer, in one transaction: settles each edit by its result (whatever is not `applied` is the app's to
    /// show), takes those changes that are newer than what is there, and keeps the cursor and, if there are edits, the
    /// page's version as `minVersion`. Where a snapshot ends (not yet whole, and `hasMore` is false) it drops what the
    /// snapshot did not bring and has no edits, and settles those that were handed out: an edit whose id the snapshot
    /// shows was applied, any other is handed back to the app.
    func take(edits: [Edit], results: [EditResult], page: Page) async throws

    /// Whether so many live documents are there and the sum of their `digest` is this, in 16 hexadecimal digits.
    func holds(digest: String, count: Int64) async throws -> Bool

    /// From now on there is no cursor and no `minVersion`, and nothing is whole. Documents and edits stay.
    func startAgain() async throws
}

/// What a live document adds to the digest of its space. The sum is `&+`.
public func digest(collection: String, id: String, version: Int64) -> UInt64 {
    var h: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in "\(collection)\u{0}\(id)\u{0}\(version)".utf8 { h = (h ^ UInt64(byte)) &* 0x100_0000_01b3 }
    h = (h ^ (h >> 33)) &* 0xff51_afd7_ed55_8ccd
    h = (h ^ (h >> 33)) &* 0xc4ce_b9fe_1a85_ec53
    return h ^ (h >> 33)
}

public enum Outcome: Sendable {
    /// All is pushed and pulled. In the foreground do it again after so long; a 304 does not say.
    case done(pollAfter: Duration?)
    /// Not all, for want of time or of the server. What was done is kept; go on in the next run.
    case later
    /// The new token was refused as well: a person has to sign in.
    case signedOut
    /// What is held is not what the server says it is, and was not after a new snapshot either: a fault to report.
    case diverged
    /// The server does not take the request; the next run would fare no better.
    case refused(Problem?)
}

/// Pushes what is queued and pulls what is new, page by page, until there is neither, the budget is spent or the task is
/// cancelled. The system gives a background refresh about 30 seconds. One run at a time for a store.
public func sync(
    _ api: TidemarkAPIConfiguration,
    space: String,
    store: some Store,
    token: (_ refresh: Bool) async throws -> String,
    budget: Duration = .seconds(25),
    limit: Int = 500
) async throws -> Outcome {
    let end = ContinuousClock.now + budget
    var done: Outcome?
    var failures = 0
    var refreshed = false
    var mended = false
    api.customHeaders["Authorization"] = "Bearer " + (try await token(false))
    while !Task.isCancelled, ContinuousClock.now < end {
        let (cursor, minVersion, whole) = try await store.position()
        let edits = try await whole ? store.nextPush() : []
        if edits.isEmpty, let done { return done }
        let results: [EditResult]
        let page: Page
        do {
            if edits.isEmpty {
                results = []
                page = try await SyncAPI.pullChanges(
                    space: space, cursor: cursor, limit: limit, minVersion: minVersion,
                    ifNoneMatch: cursor.map { "\"\($0)\"" }, apiConfiguration: api)
            } else {
                let pushed = try await SyncAPI.pushEdits(
                    space: space,
                    pushRequest: PushRequest(clientId: store.clientId, edits: edits, cursor: cursor, limit: limit),
                    apiConfiguration: api)
                results = pushed.results
                page = Page(
                    changes: pushed.changes ?? [], cursor: pushed.cursor ?? "", version: pushed.version,
                    hasMore: pushed.hasMore ?? false, digest: pushed.digest, count: pushed.count, pollAfterMs: pushed.pollAfterMs)
            }
        } catch let ErrorResponse.error(status, data, response, _) {
            switch status {
            case 304:
                return .done(pollAfter: nil)
            case 401:
                if refreshed { return .signedOut }
                refreshed = true
                api.customHeaders["Authorization"] = "Bearer " + (try await token(true))
            case 410:
                try await store.startAgain()
                done = nil
            // Below 100 nobody answered; a 200 that is no page was somebody else's answer.
            case ..<300, 408, 429, 500...:
                let asked = (response as? HTTPURLResponse)?.value(forHTTPHeaderField: "Retry-After").flatMap { Double($0) }
                let wait = Duration.seconds(asked ?? Double.random(in: 0...min(60, pow(2, Double(failures)))))
                failures += 1
                if ContinuousClock.now + wait > end { return .later }
                try? await Task.sleep(for: wait)
            default:
                return .refused(data.flatMap { try? api.codableHelper.decode(Problem.self, from: $0).get() })
            }
            continue
        }
        try await store.take(edits: edits, results: results, page: page)
        done = page.hasMore ? nil : .done(pollAfter: .milliseconds(page.pollAfterMs))
        failures = 0
        if let digest = page.digest, let count = page.count {
            let held = try await store.holds(digest: digest, count: count)
            if held { continue }
            if mended { return .diverged }
            mended = true
            try await store.startAgain()
            done = nil
        }
    }
    return .later
}
