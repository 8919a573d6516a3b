// Unicode Normalization Form C (Unicode Standard Annex 15), the form that Qwen's tokenizer files ask for.
#pragma once

#include <string>
#include <string_view>

namespace veloxquant::tokenizing {

// NFC of well-formed UTF-8.
std::string to_nfc(std::string_view text);

}  // namespace veloxquant::tokenizing
