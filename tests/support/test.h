/* cmocka with what it needs before it, and without its `fail` macro, whose name lib/base uses. Include this,
 * not cmocka.h. */
#ifndef SUPPORT_TEST_H
#define SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail

#endif
