// Errors of the library.
//
// There is one base class, `Error`, and one kind per family of failure. Everything that a caller can cause
// (a wrong shape, a file from a stranger, an unknown name) is reported by throwing one of these; the library
// never prints, exits or aborts. A call that throws leaves the objects it was given as they were.
//
// Every message reads  [operation] what was wrong, the value, the limit; a hint.  so that it can be shown to a
// person as it stands, and `kind()` says what a program may do about it.
#pragma once

#include <stdexcept>
#include <string>

namespace veloxquant {

enum class ErrorKind {
  config,       // an option or a combination of options that has no meaning
  shape,        // a tensor of the wrong rank or extent
  dtype,        // a tensor of an element type that the operation does not take
  artifact,     // a calibration artifact or saved cache that is missing, foreign or damaged
  model,        // a model folder that is incomplete or of an architecture that is not served
  io,           // the operating system refused to read or write
  unsupported,  // a meaningful request that this build or this CPU does not serve
  numeric,      // NaN, infinity or a value outside the range that a format holds
};

// The kind's name as written in messages and JSON ("config", "shape", ...).
const char* to_string(ErrorKind kind) noexcept;

class Error : public std::runtime_error {
 public:
  // `operation` names the call in the caller's words ("append", "load"); `what` is the rest of the message.
  Error(ErrorKind kind, const std::string& operation, const std::string& what)
      : std::runtime_error("[" + operation + "] " + what), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

// One catchable type per kind: catch (const veloxquant::ShapeError&).
template <ErrorKind K>
class ErrorOf final : public Error {
 public:
  ErrorOf(const std::string& operation, const std::string& what) : Error(K, operation, what) {}
};

using ConfigError = ErrorOf<ErrorKind::config>;
using ShapeError = ErrorOf<ErrorKind::shape>;
using DTypeError = ErrorOf<ErrorKind::dtype>;
using ArtifactError = ErrorOf<ErrorKind::artifact>;
using ModelError = ErrorOf<ErrorKind::model>;
using IoError = ErrorOf<ErrorKind::io>;
using UnsupportedError = ErrorOf<ErrorKind::unsupported>;
using NumericError = ErrorOf<ErrorKind::numeric>;

}  // namespace veloxquant
