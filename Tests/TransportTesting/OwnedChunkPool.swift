@testable import Transport

/// A pool that goes with its owner, as a loop's does.
final class OwnedChunkPool {
    let pool = ChunkPool()

    deinit { pool.destroy() }
}
