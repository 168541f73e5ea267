import Glibc
import Transport

/// The names that wait for a ``Resolver``'s thread, and what that thread runs.
///
/// `@unchecked Sendable` because everything mutable is read and written with `mutex` held; the rest is constant.
final class LookupQueue: @unchecked Sendable {
    struct Request: Sendable {
        let host: String
        let port: UInt16
        let completion: Resolver.Completion
    }

    private let waitingMax: Int
    private let lookup: Resolver.Lookup
    /// Held for a few instructions only. At a fixed place in memory, as pthread_mutex_init(3) wants.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    /// Signalled when `waiting` or `isStopped` changes.
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var waiting: [Request] = []
    private var isStopped = false

    init(waitingMax: Int, lookup: @escaping Resolver.Lookup) {
        self.waitingMax = waitingMax
        self.lookup = lookup
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
    }

    deinit {
        assert(waiting.isEmpty, "the thread empties the queue before it ends")
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    /// Starts the detached thread, which keeps the queue alive until it ends. 0 or an error number.
    func startThread() -> Int32 {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        let retained = Unmanaged.passRetained(self)
        let code = pthread_create(
            &thread, &attributes,
            { argument in
                // `argument` is what pthread_create got below, so never nil.
                Unmanaged<LookupQueue>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, retained.toOpaque())
        if code != 0 { retained.release() }
        return code
    }

    func add(_ request: Request) throws(HostLookupError) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        guard !isStopped else { throw .stopped(host: request.host) }
        guard waiting.count < waitingMax else { throw .queueFull(host: request.host) }
        waiting.append(request)
        pthread_cond_signal(changed)
    }

    func stop() {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        isStopped = true
        pthread_cond_signal(changed)
    }

    private func run() {
        blockSignals()
        while let (request, isStopped) = next() {
            request.completion(isStopped ? .failure(.stopped(host: request.host)) : answer(to: request))
        }
    }

    /// The oldest request and whether it comes too late, waiting for one if need be; nil when stopped and empty.
    private func next() -> (Request, isStopped: Bool)? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while waiting.isEmpty && !isStopped { pthread_cond_wait(changed, mutex) }
        return waiting.isEmpty ? nil : (waiting.removeFirst(), isStopped)
    }

    private func answer(to request: Request) -> Result<[SocketAddress], HostLookupError> {
        do throws(HostLookupError) {
            return .success(try lookup(request.host, request.port))
        } catch {
            return .failure(error)
        }
    }

    /// Signals belong to the thread that reads the signalfd: none may be delivered here.
    private func blockSignals() {
        var all = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, nil)
    }
}
