/// Memory that is sent from where it lies. Referred to by the write queue and by sends in the kernel's hands; when the
/// last of them lets go, its owner is told.
final class UncopiedBytes {
    let bytes: UnsafeRawBufferPointer
    private let release: () -> Void

    init(_ bytes: UnsafeRawBufferPointer, release: @escaping () -> Void) {
        self.bytes = bytes
        self.release = release
    }

    deinit {
        release()
    }
}
