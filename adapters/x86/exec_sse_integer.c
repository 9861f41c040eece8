/* SPDX-License-Identifier: MIT */
/*
 * exec_sse_integer.c - arithmetic, logic, compares and shifts of packed integers.
 *
 * Logic of packed floats (ANDPS ...) and UNPCKLPS and the like are here, too: they move bits and
 * raise nothing. Each line of a list is an instruction: its function and its row are made from it.
 */
#include "sse_exec.h"

/* opcode, mandatory prefix, name; operands of 16 bytes, in opcode order. */
#define LIST_SSE2(X)                                                                               \
	X(0x14, 0x00, unpcklps)                                                                    \
	X(0x14, 0x66, unpcklpd)                                                                    \
	X(0x15, 0x00, unpckhps)                                                                    \
	X(0x15, 0x66, unpckhpd)                                                                    \
	X(0x54, 0x00, andps)                                                                       \
	X(0x54, 0x66, andpd)                                                                       \
	X(0x55, 0x00, andnps)                                                                      \
	X(0x55, 0x66, andnpd)                                                                      \
	X(0x56, 0x00, orps)                                                                        \
	X(0x56, 0x66, orpd)                                                                        \
	X(0x57, 0x00, xorps)                                                                       \
	X(0x57, 0x66, xorpd)                                                                       \
	X(0x60, 0x66, punpcklbw)                                                                   \
	X(0x61, 0x66, punpcklwd)                                                                   \
	X(0x62, 0x66, punpckldq)                                                                   \
	X(0x63, 0x66, packsswb)                                                                    \
	X(0x64, 0x66, pcmpgtb)                                                                     \
	X(0x65, 0x66, pcmpgtw)                                                                     \
	X(0x66, 0x66, pcmpgtd)                                                                     \
	X(0x67, 0x66, packuswb)                                                                    \
	X(0x68, 0x66, punpckhbw)                                                                   \
	X(0x69, 0x66, punpckhwd)                                                                   \
	X(0x6a, 0x66, punpckhdq)                                                                   \
	X(0x6b, 0x66, packssdw)                                                                    \
	X(0x6c, 0x66, punpcklqdq)                                                                  \
	X(0x6d, 0x66, punpckhqdq)                                                                  \
	X(0x74, 0x66, pcmpeqb)                                                                     \
	X(0x75, 0x66, pcmpeqw)                                                                     \
	X(0x76, 0x66, pcmpeqd)                                                                     \
	X(0xd1, 0x66, psrlw)                                                                       \
	X(0xd2, 0x66, psrld)                                                                       \
	X(0xd3, 0x66, psrlq)                                                                       \
	X(0xd4, 0x66, paddq)                                                                       \
	X(0xd5, 0x66, pmullw)                                                                      \
	X(0xd8, 0x66, psubusb)                                                                     \
	X(0xd9, 0x66, psubusw)                                                                     \
	X(0xda, 0x66, pminub)                                                                      \
	X(0xdb, 0x66, pand)                                                                        \
	X(0xdc, 0x66, paddusb)                                                                     \
	X(0xdd, 0x66, paddusw)                                                                     \
	X(0xde, 0x66, pmaxub)                                                                      \
	X(0xdf, 0x66, pandn)                                                                       \
	X(0xe0, 0x66, pavgb)                                                                       \
	X(0xe1, 0x66, psraw)                                                                       \
	X(0xe2, 0x66, psrad)                                                                       \
	X(0xe3, 0x66, pavgw)                                                                       \
	X(0xe4, 0x66, pmulhuw)                                                                     \
	X(0xe5, 0x66, pmulhw)                                                                      \
	X(0xe8, 0x66, psubsb)                                                                      \
	X(0xe9, 0x66, psubsw)                                                                      \
	X(0xea, 0x66, pminsw)                                                                      \
	X(0xeb, 0x66, por)                                                                         \
	X(0xec, 0x66, paddsb)                                                                      \
	X(0xed, 0x66, paddsw)                                                                      \
	X(0xee, 0x66, pmaxsw)                                                                      \
	X(0xef, 0x66, pxor)                                                                        \
	X(0xf1, 0x66, psllw)                                                                       \
	X(0xf2, 0x66, pslld)                                                                       \
	X(0xf3, 0x66, psllq)                                                                       \
	X(0xf4, 0x66, pmuludq)                                                                     \
	X(0xf5, 0x66, pmaddwd)                                                                     \
	X(0xf6, 0x66, psadbw)                                                                      \
	X(0xf8, 0x66, psubb)                                                                       \
	X(0xf9, 0x66, psubw)                                                                       \
	X(0xfa, 0x66, psubd)                                                                       \
	X(0xfb, 0x66, psubq)                                                                       \
	X(0xfc, 0x66, paddb)                                                                       \
	X(0xfd, 0x66, paddw)                                                                       \
	X(0xfe, 0x66, paddd)

/* 0F 38: opcode, feature, name. */
#define LIST_0F38(X)                                                                               \
	X(0x00, SSSE_3, pshufb)                                                                    \
	X(0x01, SSSE_3, phaddw)                                                                    \
	X(0x02, SSSE_3, phaddd)                                                                    \
	X(0x03, SSSE_3, phaddsw)                                                                   \
	X(0x04, SSSE_3, pmaddubsw)                                                                 \
	X(0x05, SSSE_3, phsubw)                                                                    \
	X(0x06, SSSE_3, phsubd)                                                                    \
	X(0x07, SSSE_3, phsubsw)                                                                   \
	X(0x08, SSSE_3, psignb)                                                                    \
	X(0x09, SSSE_3, psignw)                                                                    \
	X(0x0a, SSSE_3, psignd)                                                                    \
	X(0x0b, SSSE_3, pmulhrsw)                                                                  \
	X(0x1c, SSSE_3, pabsb)                                                                     \
	X(0x1d, SSSE_3, pabsw)                                                                     \
	X(0x1e, SSSE_3, pabsd)                                                                     \
	X(0x28, SSE_4_1, pmuldq)                                                                   \
	X(0x29, SSE_4_1, pcmpeqq)                                                                  \
	X(0x2b, SSE_4_1, packusdw)                                                                 \
	X(0x37, SSE_4_2, pcmpgtq)                                                                  \
	X(0x38, SSE_4_1, pminsb)                                                                   \
	X(0x39, SSE_4_1, pminsd)                                                                   \
	X(0x3a, SSE_4_1, pminuw)                                                                   \
	X(0x3b, SSE_4_1, pminud)                                                                   \
	X(0x3c, SSE_4_1, pmaxsb)                                                                   \
	X(0x3d, SSE_4_1, pmaxsd)                                                                   \
	X(0x3e, SSE_4_1, pmaxuw)                                                                   \
	X(0x3f, SSE_4_1, pmaxud)                                                                   \
	X(0x40, SSE_4_1, pmulld)                                                                   \
	X(0x41, SSE_4_1, phminposuw)

#define DEFINE(name)                                                                               \
	SSE_OP(name, #name)                                                                        \
	static enum step exec_##name(struct cpu *cpu, const struct insn *insn)                     \
	{                                                                                          \
		return sse_binary(cpu, insn, 16, true, op_##name);                                 \
	}
#define DEFINE_SSE2(opcode, prefix, name) DEFINE(name)
#define DEFINE_0F38(opcode, feature, name) DEFINE(name)

LIST_SSE2(DEFINE_SSE2)
LIST_0F38(DEFINE_0F38)

#define ROW(map, opcode, prefix, name, feature)                                                    \
	{#name,        exec_##name,  map, opcode, prefix,                                          \
	 SSE_NO_GROUP, SSE_NO_GROUP, 16,  0,      SSE_REG | SSE_MEM | SSE_ALIGNED,                 \
	 feature},
#define ROW_SSE2(opcode, prefix, name) ROW(SSE_MAP_0F, opcode, prefix, name, SSE_2)
#define ROW_0F38(opcode, feature, name) ROW(SSE_MAP_0F38, opcode, 0x66, name, feature)

static const struct sse_row rows[] = {LIST_SSE2(ROW_SSE2) LIST_0F38(ROW_0F38)};

const struct sse_table sse_integer = {rows, sizeof(rows) / sizeof(rows[0])};
