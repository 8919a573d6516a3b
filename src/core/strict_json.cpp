#include "core/strict_json.hpp"

#include <fmt/format.h>

#include <unordered_set>
#include <vector>

#include "core/quote.hpp"
#include "core/utf8.hpp"

namespace veloxquant {

template <class Json>
Json parse_strict_json(std::string_view text, const std::function<void(const std::string&)>& refuse) {
  using Event = typename Json::parse_event_t;
  std::vector<std::unordered_set<std::string>> names;  // of the open objects
  const auto check = [&](int depth, Event event, Json& value) {
    const bool opens = event == Event::object_start || event == Event::array_start;
    if (opens && depth >= kDeepestJson) refuse(fmt::format("nests deeper than {} levels", kDeepestJson));
    if (event == Event::object_start) names.emplace_back();
    if (event == Event::object_end) names.pop_back();
    if (event == Event::key) {
      const auto& name = value.template get_ref<const std::string&>();
      if (!names.back().insert(name).second) refuse(fmt::format("names {} twice in one object", quote(name)));
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const typename Json::exception& error) {
    refuse("is not JSON: " + quote(error.what()));
    throw;
  }
}

template <class Json>
std::string shown_json(const Json& value) {
  constexpr std::size_t kLongest = 80;
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= kLongest) return text;
  const auto head = std::string_view(text).substr(0, kLongest);
  return std::string(head.substr(0, well_formed_prefix(head))) + "...";
}

template nlohmann::json parse_strict_json(std::string_view, const std::function<void(const std::string&)>&);
template nlohmann::ordered_json parse_strict_json(std::string_view,
                                                  const std::function<void(const std::string&)>&);
template std::string shown_json(const nlohmann::json&);
template std::string shown_json(const nlohmann::ordered_json&);

}  // namespace veloxquant
