/// How a loop reaches the kernel: operations go in, completions come out. `UringHandler` does it with a ring;
/// a readiness-based handler produces the same completions. Nothing above this protocol can tell them apart.
///
/// All members belong to the loop's thread, after ``enable()`` has been called on it. A handler is called a few times
/// per turn, never per operation: the loop gathers submissions and completions in flat arrays. A handler is made with
/// the loop's `Wakeup` and waits for its eventfd beside all else; whatever it submits for that bears
/// ``RegistrationID/handler``.
public protocol IOHandler: AnyObject {
    /// The memory that receive operations fill. The loop gives it to the handler, by and by: ``giveBuffers(_:size:)``.
    var receiveBuffers: ReceiveBuffers { get }

    /// Makes the calling thread the only one that may use this handler from now on.
    func enable() throws(SystemError)

    /// Starts the operations, in order. Their completions come from ``run(until:into:)`` only, never from here.
    ///
    /// - Returns: how many were taken. The others are submitted again after the next run: the kernel is short of something.
    func submit(_ submissions: UnsafeBufferPointer<Submission>) throws(SystemError) -> Int

    /// Waits until something has completed, the loop was woken from another thread or `deadline` has passed (nil: do not wait),
    /// writes a batch of completions and returns their number. Completions left over come with the next call.
    func run(until deadline: MonotonicTime?, into batch: UnsafeMutableBufferPointer<Completion>) throws(SystemError)
        -> Int

    /// Deals with a completion of the handler's own (``RegistrationID/handler``).
    func handle(_ completion: Completion)

    /// Gives the handler receive buffers: those it begins with, those added when all are in use, and each that a
    /// completion has used up. A receive may put up to `size` bytes into one, a message as many as it holds. Once per
    /// turn at most.
    func giveBuffers(_ ids: UnsafeBufferPointer<UInt16>, size: Int)

    /// The registration is over and nothing is in flight for it: forget its descriptor, which is about to be closed or
    /// moved to another loop. A copy of it may live on in another process, and must not be reported here any more.
    func forget(_ id: RegistrationID)

    /// Whether a multishot receive may tell of bytes and not of the RST behind them, if both were there before it.
    var canHideReset: Bool { get }

    /// The clock that ``run(until:into:)`` waits by.
    var now: MonotonicTime { get }

    /// How often completions outgrew the completion queue and had to be fetched from the kernel's overflow list.
    var overflowCount: UInt64 { get }

    /// How often the kernel had no memory for requests, and the loop rested a millisecond instead of spinning.
    var shortageCount: UInt64 { get }

    /// Frees everything. Nothing is in flight any more.
    func destroy()
}

extension IOHandler {
    /// The machine's clock. Only a simulation has another.
    public var now: MonotonicTime { .now }
}

extension IOHandler {
    var canHideReset: Bool { false }
}
