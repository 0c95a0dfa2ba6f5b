/* Says which row of a table is wrong, then fails the test. */
#ifndef TEST_POLICY_WRONG_H
#define TEST_POLICY_WRONG_H

#include "test.h"

#define WRONG(...)                                                                                           \
    do {                                                                                                     \
        print_error(__VA_ARGS__);                                                                            \
        print_error("\n");                                                                                   \
        assert_true(!"as the line above says");                                                              \
    } while (0)

#endif
