#include "textflag.h"

// func prefetch(at uintptr, lines int)
TEXT ·prefetch(SB), NOSPLIT, $0-16
	MOVD at+0(FP), R0
	MOVD lines+8(FP), R1
	CMP  $0, R1
	BLE  done

more:
	PRFM (R0), PLDL1KEEP
	ADD  $64, R0
	SUBS $1, R1
	BNE  more

done:
	RET

// func self() uintptr
TEXT ·self(SB), NOSPLIT, $0-8
	MOVD g, ret+0(FP)
	RET
