/* SPDX-License-Identifier: MIT
 *
 * Empty tables for the built-in engines, until each brings its own.
 */
#include "lib/engine/engine.h"

const struct llem_engine_class llem_engine_cpu = { .name = "cpu" };
const struct llem_engine_class llem_engine_test = { .name = "test" };
