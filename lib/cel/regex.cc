// The one C++ file: RE2 behind three C functions. Nothing throws past it.
#include "regex.h"

#include <re2/re2.h>

#include <new>

struct regex {
    re2::RE2 expression;
    regex(const re2::StringPiece &pattern, const re2::RE2::Options &options) : expression(pattern, options) {
    }
};

regex *regex_compile(const char *pattern, size_t size) {
    try {
        re2::RE2::Options options;
        options.set_log_errors(false);
        options.set_max_mem(1 << 20);
        regex *made = new (std::nothrow) regex(re2::StringPiece(pattern, size), options);
        if (made != nullptr && !made->expression.ok()) {
            delete made;
            made = nullptr;
        }
        return made;
    } catch (...) {
        return nullptr;
    }
}

void regex_free(regex *self) {
    delete self;
}

bool regex_search(const regex *self, const char *text, size_t size) {
    try {
        return re2::RE2::PartialMatch(re2::StringPiece(text, size), self->expression);
    } catch (...) {
        return false;
    }
}
