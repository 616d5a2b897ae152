// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Keys of 4 bytes, values of 8.
#define KEY_BYTES 4
#define VALUE_BYTES 8
#include "hash_operations.h"
