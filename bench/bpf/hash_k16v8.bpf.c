// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Keys of 16 bytes, values of 8.
#define KEY_BYTES 16
#define VALUE_BYTES 8
#include "hash_operations.h"
