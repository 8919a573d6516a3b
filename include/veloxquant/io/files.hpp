// Whole files: reading one into memory, and replacing one so that a crash never leaves half of it.
//
// A replacement is written to a temporary name in the target's own folder
// (".veloxquant-<process>-<n>-<time>.tmp"), flushed to the disk, renamed over the target, and the folder is
// flushed. Whoever opens the path sees the whole old file or the whole new one, also after a crash, a full
// disk or a loss of power. When a call throws, the old file is as it was and the temporary file is gone; only
// the failure of the very last step, the flush of the folder, is reported with the new file already in place.
// A process killed in the middle may leave its temporary file behind: it is never read, and may be deleted. A
// target that is a symbolic link to a file is itself replaced. A pipe, a socket or a device is not replaced
// but written to, without these promises; a folder is refused.
//
// Errors: IoError when the operating system refuses, with the path and its reason.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace veloxquant {

// The bytes of a regular file of at most `max_bytes`. Throws IoError for a larger file, a folder, a pipe, a
// device.
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes);

// Creates or replaces `path`; see above.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// Throws what write_file_atomically() would throw at once (a folder, no permission, a read-only file
// system), and leaves nothing behind. For long computations whose result goes there.
void require_writable(const std::filesystem::path& path);

}  // namespace veloxquant
