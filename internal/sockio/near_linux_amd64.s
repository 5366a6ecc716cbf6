#include "textflag.h"

// func prefetch(at uintptr, lines int)
TEXT ·prefetch(SB), NOSPLIT, $0-16
	MOVQ  at+0(FP), AX
	MOVQ  lines+8(FP), CX
	TESTQ CX, CX
	JLE   done

more:
	PREFETCHT0 (AX)
	ADDQ       $64, AX
	DECQ       CX
	JNZ        more

done:
	RET

// func self() uintptr
TEXT ·self(SB), NOSPLIT, $0-8
	MOVQ (TLS), AX
	MOVQ AX, ret+0(FP)
	RET
