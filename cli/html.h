/* Text into HTML, safely. */
#ifndef CLI_HTML_H
#define CLI_HTML_H

#include "base/bytes.h"

/* Appends text as HTML: & < > " ' escaped, control characters and what is no UTF-8 replaced by U+FFFD. Safe
 * between tags and in quoted attributes. NULL is nothing. */
void html_text(buffer *out, const char *text);

#endif
