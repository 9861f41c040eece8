/* SPDX-License-Identifier: MIT */
/*
 * exec.h - the functions that execute instructions, by file.
 *
 * They are called by the run loop only, with cpu->s.rip at the instruction and cpu->next_rip behind
 * it (X1 in x86.h). What comes in many kinds is a struct exec_forms instead of a function.
 */
#ifndef ADAPTERS_X86_EXEC_H
#define ADAPTERS_X86_EXEC_H

#include "x86.h"

/* RFLAGS. */
#define FLAG_CF (1u << 0)
#define FLAG_FIXED (1u << 1)
#define FLAG_PF (1u << 2)
#define FLAG_AF (1u << 4)
#define FLAG_ZF (1u << 6)
#define FLAG_SF (1u << 7)
#define FLAG_TF (1u << 8)
#define FLAG_IF (1u << 9)
#define FLAG_DF (1u << 10)
#define FLAG_OF (1u << 11)
#define FLAG_IOPL (3u << 12)
#define FLAG_NT (1u << 14)
#define FLAG_RF (1u << 16)
#define FLAG_VM (1u << 17)
#define FLAG_AC (1u << 18)
#define FLAG_ID (1u << 21)

/* By the log2 of insn->size, for register and memory operands in rm; NULL: not covered. */
struct exec_forms {
	exec_fn *reg[4];
	exec_fn *mem[4];
};

/* exec_branch.c: also what the processor refuses. */
exec_fn exec_ud;
exec_fn exec_gp; /* longer than 15 bytes */
exec_fn exec_int3;
exec_fn exec_int; /* INT n: the vector is insn->imm */
exec_fn exec_call_rel, exec_call_rm, exec_jmp_rel, exec_jmp_rm, exec_ret, exec_ret_imm;
exec_fn exec_loop, exec_loope, exec_loopne, exec_jrcxz;
extern const struct exec_forms exec_jcc[16]; /* reg[3] only */

/* exec_condition.c */
extern const struct exec_forms exec_setcc[16], exec_cmovcc[16];

/* exec_alu.c: in the order of their numbers in opcodes, ADD to CMP. */
extern const struct exec_forms exec_alu_rm_reg[8], exec_alu_reg_rm[8], exec_alu_rm_imm[8];
extern const struct exec_forms exec_test_rm_reg, exec_test_rm_imm;
exec_fn exec_alu_locked_reg, exec_alu_locked_imm; /* op: the number */

/* exec_unary.c */
extern const struct exec_forms exec_inc, exec_dec, exec_neg, exec_not;
exec_fn exec_unary_locked; /* op: enum unary_op */
exec_fn exec_xadd, exec_cmpxchg, exec_cmpxchg8b_16b, exec_adcx, exec_adox;
enum unary_op { UNARY_INC, UNARY_DEC, UNARY_NEG, UNARY_NOT };

/* exec_move.c */
extern const struct exec_forms exec_mov_rm_reg, exec_mov_reg_rm, exec_mov_rm_imm;
extern const struct exec_forms exec_movzx8, exec_movzx16, exec_movsx8, exec_movsx16, exec_movsxd;
extern const struct exec_forms exec_lea, exec_xchg;
exec_fn exec_nop, exec_nop_or_xchg, exec_bswap, exec_movbe_load, exec_movbe_store, exec_xlat;
exec_fn exec_fence, exec_flush;
exec_fn exec_xchg_mem;      /* any size */
exec_fn exec_cbw, exec_cwd; /* and their wider forms */

/* exec_stack.c */
extern const struct exec_forms exec_push_rm, exec_pop_rm;
exec_fn exec_push_imm, exec_pushf, exec_popf, exec_enter, exec_leave;

/* exec_flag.c */
exec_fn exec_lahf, exec_sahf, exec_clc, exec_stc, exec_cmc, exec_cld, exec_std, exec_cli, exec_sti;

/* exec_shift.c: in the order of their numbers in opcodes, ROL to SAR. */
extern const struct exec_forms exec_shift_one[8], exec_shift_imm[8], exec_shift_cl[8];
exec_fn exec_shld_imm, exec_shrd_imm, exec_shld_cl, exec_shrd_cl;

/* exec_bit.c; op: enum bit_op */
enum bit_op { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };
exec_fn exec_bit_imm, exec_bit_reg; /* with LOCK, too */
exec_fn exec_bsf, exec_bsr, exec_tzcnt, exec_lzcnt, exec_popcnt, exec_crc32;

/* exec_bmi.c; op of the two that serve several */
exec_fn exec_andn, exec_bextr, exec_bzhi, exec_pdep, exec_pext, exec_mulx;
exec_fn exec_lowest_bit, exec_shift_plain;
enum lowest_bit_op { LOWEST_RESET, LOWEST_MASK, LOWEST_ISOLATE };
enum shift_plain_op { PLAIN_ROR, PLAIN_SAR, PLAIN_SHL, PLAIN_SHR };

/* exec_muldiv.c */
extern const struct exec_forms exec_imul_reg_rm;
exec_fn exec_imul_imm, exec_mul, exec_imul, exec_div, exec_idiv;

/* exec_string.c */
exec_fn exec_movs, exec_stos, exec_lods, exec_scas, exec_cmps;

/*
 * exec_control.c, exec_msr.c, exec_segment.c, exec_far.c, exec_io.c. The control or debug register
 * and the segment register are insn->reg, the general-purpose one insn->rm.
 */
exec_fn exec_mov_from_cr, exec_mov_to_cr, exec_mov_from_dr, exec_mov_to_dr;
exec_fn exec_mov_from_seg; /* memory operands of 2 bytes whatever insn->size */
exec_fn exec_mov_to_seg;
exec_fn exec_push_seg, exec_pop_seg; /* FS and GS: insn->op is enum cpu_segment_name */
exec_fn exec_rdmsr, exec_wrmsr, exec_rdtsc, exec_rdtscp, exec_rdpmc, exec_cpuid, exec_hlt;
exec_fn exec_in, exec_out;       /* insn->op: 0 port in imm, 1 in DX; AL, AX or EAX by insn->size */
exec_fn exec_ins, exec_outs;     /* insn->size, insn->rep */
exec_fn exec_iret, exec_ret_far; /* bytes to pop in insn->imm; insn->size 2, 4 or 8 */
exec_fn exec_call_far, exec_jmp_far; /* through memory */
exec_fn exec_sldt, exec_str, exec_lldt, exec_ltr, exec_verr, exec_verw, exec_lar, exec_lsl;
exec_fn exec_sgdt, exec_sidt, exec_lgdt, exec_lidt, exec_smsw, exec_lmsw, exec_invlpg, exec_clts;
exec_fn exec_swapgs, exec_wbinvd, exec_syscall, exec_sysret, exec_xgetbv, exec_xsetbv;
exec_fn exec_clac, exec_stac, exec_invpcid;
exec_fn exec_fsgsbase; /* insn->op: 0 RDFSBASE, 1 RDGSBASE, 2 WRFSBASE, 3 WRGSBASE */

#endif /* ADAPTERS_X86_EXEC_H */
