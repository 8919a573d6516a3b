#include "models/tokenizer_file.hpp"

#include <fmt/format.h>

#include "models/byte_level.hpp"
#include "models/tokenizer_json.hpp"

namespace veloxquant::tokenizing {
namespace {

[[noreturn]] void refuse_type(const std::string& where, const std::string& type, const char* served) {
  refuse_unsupported(fmt::format("{} is {}; served: {}", where, shown(std::string_view(type)), served));
}

// Refuses an option that changes the ids in ways that are not served.
void expect_unset(const Json& object, const char* name, const std::string& where) {
  const Json* value = member(object, name, where);
  const bool unset = value == nullptr || *value == false || *value == "" || *value == 0.0;
  if (!unset) refuse_unsupported(fmt::format("{}.{} is {}; it must be unset", where, name, shown(*value)));
}

std::string item(const std::string& where, std::size_t index) { return fmt::format("{}[{}]", where, index); }

// --- model ---

std::pair<std::string, std::string> read_merge(const Json& merge, const std::string& where) {
  if (merge.is_array()) {
    if (merge.size() != 2) refuse_damaged(fmt::format("{} has {} pieces, not 2", where, merge.size()));
    return {text_of(merge[0], where), text_of(merge[1], where)};
  }
  const std::string& both = text_of(merge, where);
  const std::size_t space = both.find(' ');
  if (space == both.npos || both.find(' ', space + 1) != both.npos) {
    refuse_damaged(fmt::format("{} is {}, not two pieces with a space between", where, shown(merge)));
  }
  return {both.substr(0, space), both.substr(space + 1)};
}

void read_model(const Json& model, TokenizerFile& file) {
  const std::string where = "model";
  // Old files leave the type out; merges are what only BPE has.
  const bool untyped = member(model, "type", where) == nullptr && member(model, "merges", where) != nullptr;
  if (!untyped && type_of(model, where) != "BPE") refuse_type("model.type", type_of(model, where), "BPE");
  for (const char* option : {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"}) {
    expect_unset(model, option, where);
  }
  // unk_token and fuse_unk say what an unknown character becomes: with a piece for every byte there is none.
  file.ignore_merges = flag_or(model, "ignore_merges", false, where);

  const Json& vocabulary = required(model, "vocab", where);
  if (!vocabulary.is_object())
    refuse_damaged(fmt::format("model.vocab is {}, not an object", shown(vocabulary)));
  file.vocabulary.reserve(vocabulary.size());
  for (const auto& [piece, id] : vocabulary.items()) {
    if (piece.empty()) refuse_damaged(fmt::format("model.vocab gives id {} to an empty piece", shown(id)));
    const bool good = id.is_number_unsigned() && id.get<std::uint64_t>() < kIdLimit;
    if (!good) id_of(id, fmt::format("the id of {} in model.vocab", shown(std::string_view(piece))));
    file.vocabulary.push_back({piece, id.get<std::uint32_t>()});
  }
  const Json& merges = array_of(required(model, "merges", where), "model.merges");
  file.merges.reserve(merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    file.merges.push_back(read_merge(merges[i], item("model.merges", i)));
  }
}

// --- added tokens ---

void read_added_tokens(const Json& tokens, TokenizerFile& file) {
  constexpr std::size_t kMaxContentBytes = 1024;
  array_of(tokens, "added_tokens");
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string where = item("added_tokens", i);
    const std::string& content = text_of(required(tokens[i], "content", where), where + ".content");
    if (content.empty() || content.size() > kMaxContentBytes) {
      refuse_damaged(
          fmt::format("{}.content has {} bytes, not 1 to {}", where, content.size(), kMaxContentBytes));
    }
    for (const char* option : {"single_word", "lstrip", "rstrip"}) expect_unset(tokens[i], option, where);
    file.added_tokens.push_back({content, id_of(required(tokens[i], "id", where), where + ".id"),
                                 flag_or(tokens[i], "special", false, where),
                                 flag_or(tokens[i], "normalized", false, where)});
  }
}

// --- normalizer ---

void read_normalizer(const Json& normalizer, const std::string& where, TokenizerFile& file) {
  const std::string& type = type_of(normalizer, where);
  if (type == "NFC") {
    file.nfc = true;
  } else if (type == "Sequence") {
    const std::string members = where + ".normalizers";
    const Json& list = array_of(required(normalizer, "normalizers", where), members);
    for (std::size_t i = 0; i < list.size(); ++i) read_normalizer(list[i], item(members, i), file);
  } else {
    refuse_type(where + ".type", type, "NFC, or none");
  }
}

// --- pre-tokenizer ---

SplitStage read_split(const Json& split, const std::string& where) {
  const Json& pattern = required(split, "pattern", where);
  if (member(pattern, "Regex", where + ".pattern") == nullptr) {
    refuse_unsupported(fmt::format("{}.pattern is not a Regex; served: Regex", where));
  }
  const std::string& behavior = text_of(required(split, "behavior", where), where + ".behavior");
  if (behavior != "Isolated") refuse_type(where + ".behavior", behavior, "Isolated");
  expect_unset(split, "invert", where);
  return {false, text_of(pattern["Regex"], where + ".pattern.Regex")};
}

SplitStage read_byte_level(const Json& level, const std::string& where) {
  SplitStage stage;
  stage.add_prefix_space = flag_of(required(level, "add_prefix_space", where), where + ".add_prefix_space");
  if (flag_or(level, "use_regex", true, where)) stage.pattern = std::string(kGpt2Pattern);
  return stage;
}

// The encoder splits by one stage inside another, so that each takes its part of the stack.
void add_stage(TokenizerFile& file, const std::string& where, SplitStage stage) {
  constexpr std::size_t kMaxStages = 32;  // published files have up to 4
  if (file.stages.size() == kMaxStages) {
    refuse_unsupported(fmt::format("{} is stage {} of the pre-tokenizer; served: at most {} stages", where,
                                   kMaxStages + 1, kMaxStages));
  }
  file.stages.push_back(std::move(stage));
}

// Reads one component behind the others. Byte-level pieces are the last station's: nothing may follow
// ByteLevel.
void read_pre_tokenizer(const Json& component, const std::string& where, bool& is_complete,
                        TokenizerFile& file) {
  const std::string& type = type_of(component, where);
  if (type == "Sequence") {
    const std::string members = where + ".pretokenizers";
    const Json& list = array_of(required(component, "pretokenizers", where), members);
    for (std::size_t i = 0; i < list.size(); ++i)
      read_pre_tokenizer(list[i], item(members, i), is_complete, file);
    return;
  }
  if (is_complete)
    refuse_unsupported(fmt::format("{} ({}) follows ByteLevel, which must be last", where, type));
  if (type == "Split") {
    add_stage(file, where, read_split(component, where));
  } else if (type == "Digits") {
    const bool one_by_one = flag_or(component, "individual_digits", false, where);
    add_stage(file, where, {false, one_by_one ? R"(\p{N})" : R"(\p{N}+)"});
  } else if (type == "ByteLevel") {
    add_stage(file, where, read_byte_level(component, where));
    is_complete = true;
  } else {
    refuse_type(where + ".type", type, "Split, Digits and a final ByteLevel");
  }
}

// --- post-processor ---

// Parts of a template, and ids before or after its sequence; published files have up to 3. A part names ids
// by reference, so that a small file could ask for any number of them.
constexpr std::size_t kMaxTemplate = 64;

void append_special_ids(const Json& special, const Json& processor, const std::string& where,
                        std::vector<std::uint32_t>& out) {
  const std::string& name = text_of(required(special, "id", where), where + ".id");
  const std::string entry = fmt::format("special_tokens[{}]", shown(std::string_view(name)));
  const Json& known = required(processor, "special_tokens", "post_processor");
  const Json& ids =
      array_of(required(required(known, name.c_str(), "special_tokens"), "ids", entry), entry + ".ids");
  if (ids.size() > kMaxTemplate - out.size()) {
    refuse_unsupported(fmt::format("{}: the template adds more than {} ids", where, kMaxTemplate));
  }
  for (const Json& id : ids) out.push_back(id_of(id, entry + ".ids"));
}

void read_template(const Json& processor, const std::string& where, TokenizerFile& file) {
  const std::string single = where + ".single";
  const Json& parts = array_of(required(processor, "single", where), single);
  if (parts.size() > kMaxTemplate) {
    refuse_unsupported(
        fmt::format("{} has {} parts; served: at most {}", single, parts.size(), kMaxTemplate));
  }
  bool seen = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string part = item(single, i);
    if (const Json* special = member(parts[i], "SpecialToken", part)) {
      append_special_ids(*special, processor, part, seen ? file.ids_after : file.ids_before);
    } else if (const Json* sequence = member(parts[i], "Sequence", part)) {
      if (seen || text_of(required(*sequence, "id", part), part + ".id") != "A") {
        refuse_unsupported(fmt::format("{} is not the only sequence A of its template", part));
      }
      seen = true;
    } else {
      refuse_damaged(fmt::format("{} is neither a SpecialToken nor a Sequence", part));
    }
  }
  if (!seen) refuse_unsupported(fmt::format("{} has no sequence A", single));
}

void read_post_processor(const Json& processor, const std::string& where, bool& has_template,
                         TokenizerFile& file) {
  const std::string& type = type_of(processor, where);
  if (type == "Sequence") {
    const std::string members = where + ".processors";
    const Json& list = array_of(required(processor, "processors", where), members);
    for (std::size_t i = 0; i < list.size(); ++i) {
      read_post_processor(list[i], item(members, i), has_template, file);
    }
  } else if (type == "TemplateProcessing") {
    if (has_template) refuse_unsupported(fmt::format("{} is a second TemplateProcessing", where));
    has_template = true;
    read_template(processor, where, file);
  } else if (type != "ByteLevel") {  // which only moves offsets
    refuse_type(where + ".type", type, "TemplateProcessing and ByteLevel");
  }
}

}  // namespace

TokenizerFile read_tokenizer_file(std::string_view json) {
  const Json root = parse_strict(json);
  const std::string where = "tokenizer.json";
  if (const Json* version = member(root, "version", where); version != nullptr && *version != "1.0") {
    refuse_unsupported(fmt::format("version is {}; served: \"1.0\"", shown(*version)));
  }
  for (const char* option : {"truncation", "padding"}) expect_unset(root, option, where);

  TokenizerFile file;
  read_model(required(root, "model", where), file);
  if (const Json* tokens = member(root, "added_tokens", where)) read_added_tokens(*tokens, file);
  if (const Json* normalizer = member(root, "normalizer", where))
    read_normalizer(*normalizer, "normalizer", file);
  bool is_complete = false, has_template = false;
  if (const Json* pre = member(root, "pre_tokenizer", where)) {
    read_pre_tokenizer(*pre, "pre_tokenizer", is_complete, file);
  }
  if (!is_complete) refuse_unsupported("pre_tokenizer has no ByteLevel; served: byte-level BPE");
  if (const Json* post = member(root, "post_processor", where)) {
    read_post_processor(*post, "post_processor", has_template, file);
  }
  const Json* decoder = member(root, "decoder", where);
  if (decoder == nullptr) refuse_unsupported("decoder is not set; served: ByteLevel");
  if (type_of(*decoder, "decoder") != "ByteLevel") {
    refuse_type("decoder.type", type_of(*decoder, "decoder"), "ByteLevel");
  }
  return file;
}

}  // namespace veloxquant::tokenizing
