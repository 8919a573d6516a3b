// Rows that block kernels are made for.
#pragma once

namespace veloxquant {

// A call with fewer rows carries zero rows along.
constexpr int kernel_row_width(int rows) noexcept { return rows <= 1 ? 1 : rows <= 2 ? 2 : rows <= 4 ? 4 : 8; }

}  // namespace veloxquant
