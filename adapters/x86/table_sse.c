/* SPDX-License-Identifier: MIT */
/*
 * table_sse.c - finds the row of an SSE instruction.
 *
 * Data: the tables of exec_sse_*.c, each sorted by map, opcode and prefix; rows that differ in
 * ModRM only stand side by side. Rows whose instructions the host lacks are as if they were not
 * there. Thread context: any; nothing here changes.
 */
#include "sse.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static const struct sse_table *const tables[] = {
    &sse_move,    &sse_integer, &sse_shuffle, &sse_arithmetic,
    &sse_compare, &sse_convert, &sse_four,    &sse_state,
};

const struct sse_table *sse_table(unsigned int i)
{
	return i < ARRAY_SIZE(tables) ? tables[i] : NULL;
}

bool sse_feature_there(enum sse_feature feature)
{
	switch (feature) {
	case SSE_2:
		return true;
	case SSE_3:
		return __builtin_cpu_supports("sse3");
	case SSSE_3:
		return __builtin_cpu_supports("ssse3");
	case SSE_4_1:
		return __builtin_cpu_supports("sse4.1");
	case SSE_4_2:
		return __builtin_cpu_supports("sse4.2");
	case SSE_FEATURES:
		break;
	}
	return false;
}

static uint32_t key(unsigned int map, unsigned int opcode, unsigned int prefix)
{
	return map << 16 | opcode << 8 | prefix;
}

static uint32_t row_key(const struct sse_row *row)
{
	return key(row->map, row->opcode, row->prefix);
}

static bool row_fits(const struct sse_row *row, uint8_t modrm)
{
	bool is_reg = modrm >= 0xc0;

	if (row->flags & SSE_NO_MODRM)
		return true;
	if (!(row->flags & (is_reg ? SSE_REG : SSE_MEM)))
		return false;
	if (row->group != SSE_NO_GROUP && row->group != (modrm >> 3 & 7))
		return false;
	return row->rm == SSE_NO_GROUP || row->rm == (modrm & 7);
}

static const struct sse_row *table_lookup(const struct sse_table *table, uint32_t wanted,
					  uint8_t modrm)
{
	size_t lo = 0, hi = table->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (row_key(&table->rows[mid]) < wanted)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < table->n && row_key(&table->rows[lo]) == wanted; lo++)
		if (row_fits(&table->rows[lo], modrm))
			return &table->rows[lo];
	return NULL;
}

const struct sse_row *sse_lookup(enum sse_map map, uint8_t opcode, uint8_t prefix, uint8_t modrm)
{
	const struct sse_row *row = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(tables) && !row; i++) {
		row = table_lookup(tables[i], key(map, opcode, prefix), modrm);
		if (!row && prefix) {
			row = table_lookup(tables[i], key(map, opcode, 0), modrm);
			if (row && !(row->flags & SSE_ANY_PREFIX))
				row = NULL;
		}
	}
	return row && sse_feature_there((enum sse_feature)row->feature) ? row : NULL;
}
